// Threads that wait for work: a range of independent items, shared among them and the caller.
//
// Each item is computed by one thread, in one order, so that a result does not depend on their number.
// Knows nothing of what the items are.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace octavo {

class Pool {
   public:
    // Computes items [begin, end) as the thread of this number. Must not throw.
    using Work = std::function<void(std::int64_t begin, std::int64_t end, int thread)>;

    explicit Pool(int num_threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

    // Computes items [0, count), `grain` at a time; returns when all are done. One call at a time.
    void run(std::int64_t count, std::int64_t grain, const Work& work);

   private:
    void wait_for_work(int thread);
    void share(const Work& work, int thread);

    std::mutex mutex_;
    std::condition_variable started_;
    std::condition_variable finished_;
    std::vector<std::thread> threads_;
    const Work* work_ = nullptr;
    std::int64_t count_ = 0;
    std::int64_t grain_ = 1;
    std::atomic<std::int64_t> next_{0};
    std::uint64_t round_ = 0;
    int num_working_ = 0;
    bool is_closing_ = false;
};

}  // namespace octavo
