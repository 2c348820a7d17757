// How fast memory is copied: what bounds the bandwidth of an engine that moves messages by copying them.
// Usage: memcpy MESSAGE_BYTES SET_BYTES PAGE_BYTES TOTAL_BYTES IS_POLLED. Messages go round through a source and a target of SET_BYTES each, in
// pieces of one page whose order is shuffled, or in one piece where PAGE_BYTES is 0. If IS_POLLED is not 0, another process looks at a word all
// the while, as the application does that waits for an engine: it may be a thread of the same core. Standard output: nanoseconds for TOTAL_BYTES.

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

// Not to be seen through by the compiler.
static void *(*volatile copy)(void *, const void *, size_t) = memcpy;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// Shared memory, like a guest's, with all its pages there.
static uint8_t *new_memory(size_t bytes)
{
	uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		exit(1);
	memset(memory, 1, bytes);
	return memory;
}

// The numbers below `count` in an order that no prefetcher foresees.
static size_t *shuffled(size_t count, uint32_t seed)
{
	size_t *order = calloc(count, sizeof(*order));

	for (size_t i = 0; i < count; i++) {
		seed = seed * 1664525u + 1013904223u;
		const size_t j = (seed >> 8) % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	return order;
}

// Ends with its parent.
static pid_t start_poller(void)
{
	_Atomic uint32_t *word = (_Atomic uint32_t *)new_memory(4096);
	const pid_t child = fork();

	if (child < 0)
		exit(1);
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (atomic_load_explicit(word, memory_order_acquire) != 0)
		;
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc < 6)
		return 1;
	const size_t message = strtoull(argv[1], NULL, 0), set = strtoull(argv[2], NULL, 0);
	const size_t page = strtoull(argv[3], NULL, 0), total = strtoull(argv[4], NULL, 0);
	const size_t piece = page == 0 ? message : page;
	const size_t count = set / piece;
	uint8_t *source = new_memory(set), *target = new_memory(set);
	const size_t *from = shuffled(count, 1), *to = shuffled(count, 2);

	const pid_t poller = atoi(argv[5]) != 0 ? start_poller() : 0;

	// The first round only fills the caches.
	for (int pass = 0; pass < 2; pass++) {
		const size_t bytes = pass == 0 ? set : total;
		const uint64_t before = now_ns();
		size_t i = 0;

		for (size_t done = 0; done < bytes; done += piece) {
			const size_t s = page == 0 ? i : from[i], t = page == 0 ? i : to[i];

			copy(target + t * piece, source + s * piece, piece);
			i = i + 1 < count ? i + 1 : 0;
		}
		if (pass == 1)
			printf("%llu\n", (unsigned long long)(now_ns() - before));
	}
	if (poller > 0)
		kill(poller, SIGKILL);
	return 0;
}
