// How threads are woken, share a range and are waited for.
#include "pool.hpp"

#include <algorithm>

namespace octavo {

Pool::Pool(int num_threads) {
    for (int thread = 1; thread < num_threads; ++thread) {
        threads_.emplace_back([this, thread] { wait_for_work(thread); });
    }
}

Pool::~Pool() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        is_closing_ = true;
    }
    started_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

void Pool::run(std::int64_t count, std::int64_t grain, const Work& work) {
    if (count <= 0) return;
    if (threads_.empty() || count <= grain) {
        work(0, count, 0);
        return;
    }
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        work_ = &work;
        count_ = count;
        grain_ = grain;
        next_.store(0);
        num_working_ = static_cast<int>(threads_.size());
        ++round_;
    }
    started_.notify_all();
    share(work, 0);
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [this] { return num_working_ == 0; });
}

void Pool::wait_for_work(int thread) {
    std::uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
        started_.wait(lock, [this, seen] { return is_closing_ || round_ != seen; });
        if (is_closing_) return;
        seen = round_;
        const Work& work = *work_;
        lock.unlock();
        share(work, thread);
        lock.lock();
        if (--num_working_ == 0) finished_.notify_one();
    }
}

void Pool::share(const Work& work, int thread) {
    while (true) {
        const std::int64_t begin = next_.fetch_add(grain_);
        if (begin >= count_) return;
        work(begin, std::min(begin + grain_, count_), thread);
    }
}

}  // namespace octavo
