// How fast one word goes from one process to another and back through shared memory: nothing can be faster than that.
// Usage: ping-pong ROUNDS. Standard output: 64-bit numbers of nanoseconds, first what reading the clock takes, then each round trip.

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define CLOCK_TRIALS 1001

// Each word in a cache line of its own, and none of them in the line that the prefetcher takes along.
struct words {
	_Alignas(256) _Atomic uint32_t ping;
	_Alignas(256) _Atomic uint32_t pong;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

// The median distance of two readings of the clock.
static uint64_t clock_cost_ns(void)
{
	uint64_t cost[CLOCK_TRIALS];

	for (int i = 0; i < CLOCK_TRIALS; i++) {
		const uint64_t before = now_ns();

		cost[i] = now_ns() - before;
	}
	qsort(cost, CLOCK_TRIALS, sizeof(*cost), compare);
	return cost[CLOCK_TRIALS / 2];
}

static void answer(struct words *words, uint32_t rounds)
{
	for (uint32_t i = 1; i <= rounds; i++) {
		while (atomic_load_explicit(&words->ping, memory_order_acquire) != i)
			;
		atomic_store_explicit(&words->pong, i, memory_order_release);
	}
}

int main(int argc, char **argv)
{
	const uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 0;
	struct words *words = mmap(NULL, sizeof(*words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t *times = calloc(rounds + 1, sizeof(*times));

	if (rounds == 0 || words == MAP_FAILED || times == NULL)
		return 1;
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		answer(words, rounds);
		_exit(0);
	}
	times[0] = clock_cost_ns();
	for (uint32_t i = 1; i <= rounds; i++) {
		const uint64_t before = now_ns();

		atomic_store_explicit(&words->ping, i, memory_order_release);
		while (atomic_load_explicit(&words->pong, memory_order_acquire) != i)
			;
		times[i] = now_ns() - before;
	}
	return fwrite(times, sizeof(*times), rounds + 1, stdout) == rounds + 1 ? 0 : 1;
}
