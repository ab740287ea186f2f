"""Where contexts live: blocks, seats, and the tables that join them.

A request that starts to run takes a seat (`seats`), a stable row that holds what the host
knows of it. Its context is computed into blocks (`pool`), which its row of the block table
(`tables`) lists in order. A block that is full and computed gets a name (`prefix`, `names`),
never changes again, and may be shared by every request whose context begins the same way; when
nobody holds it, it is remembered until its room is needed.

    free --take--> held --release--> free            a block without a name
                   held --release--> remembered      a block with a name
             held <--share-- remembered --take--> held, by another, its name forgotten

A program may have several state groups, each with a pool and tables of its own; `groups` takes
and gives back what all of them hold of a context together. Layers that see a window give blocks
back while a request runs. States that are overwritten as it goes stand in the rows of its seat
(`rings`), and may be kept at the ends of blocks, for others to go on from (`snapshots`).

Block 0 and seat 0 are null: never given, so that padding has a place to write to.
One thread owns all of it. Test it with random walks: after every move each block is in one
of the three states, and the counts agree with those who hold.

Knows nothing of requests; the scheduler joins the two.
"""
