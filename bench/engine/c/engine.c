// A minimal engine: what an engine for RC sends and RDMA writes cannot do without, in the memory layout of the MT25204 (mem-free).
// It takes the place of a device domain that has set everything up and was then stopped, between two guests with one queue pair and
// one completion queue each:
//
//   UAR doorbell → doorbell record → WQE → keys, protection domain, access, bounds → MTT → copy → CQE, owner byte last
//
// What is wrong ends the program: errors, events, fairness, timers and all the rest are the device domain's business.
// Standard input describes both guests, one thing a line (c-engine.ts writes it):
//   guest RAM_FILE RAM_BYTES DMA_BASE UAR_FILE UAR_OFFSET
//   icm PAGE RAM_OFFSET
//   region INDEX KEY START LENGTH ACCESS PD MTT_ADDRESS
//   qp NUMBER PD SQ_AT SQ_BASE SQ_LOG_SIZE SQ_LOG_STRIDE SQ_RECORD SQ_HEAD RQ_AT RQ_LOG_SIZE RQ_LOG_STRIDE RQ_RECORD RQ_HEAD
//   cq AT LOG_SIZE CI_RECORD PRODUCER

#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PAGE_SHIFT = 12, PAGE_BYTES = 1 << PAGE_SHIFT, REGIONS = 1024, ICM_PAGES = 1 << 20, SGES = 8, TURN_WQES = 64 };
enum { SEND_DOORBELL = 0x10, CQE_SHIFT = 5, IS_SEND = 0x8000, SIGNALED = 8, MTT_PRESENT = 1 };
enum { NEXT_BYTES = 16, SEGMENT_BYTES = 16, INVALID_LKEY = 0x100 };
enum { OPCODE_RDMA_WRITE = 8, OPCODE_SEND = 10, BTH_SEND_ONLY = 4 };
enum { LOCAL_READ = 1 << 10, LOCAL_WRITE = 1 << 11, REMOTE_WRITE = 1 << 13 };

struct region {
	uint32_t key, access, pd;
	uint64_t start, length, mtt;
};

// A data segment.
struct sge {
	uint32_t lkey, length;
	uint64_t address;
};

struct list {
	struct sge sges[SGES];
	uint32_t count, total;
};

struct queue_pair {
	uint32_t number, pd, sq_base, sq_log_size, sq_log_stride, rq_log_size, rq_log_stride;
	uint16_t sq_head, sq_posted, rq_head;
	uint8_t *sq, *rq;
	const uint8_t *sq_record, *rq_record;
};

struct completion_queue {
	uint8_t *entries;
	uint32_t log_size, producer, consumer;
	const uint8_t *ci_record;
};

struct guest {
	uint8_t *ram;
	uint64_t ram_bytes, dma_base;
	_Atomic uint32_t *doorbell;
	// ICM page → offset in `ram`.
	uint64_t *icm;
	struct region regions[REGIONS];
	struct queue_pair qp;
	struct completion_queue cq;
};

// Where a list is walked: the guest whose memory it names, and what its keys must grant.
struct walk {
	const struct guest *guest;
	const struct list *list;
	uint32_t pd, access, index, done;
	uint8_t *at;
	uint32_t run;
};

static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "engine: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	exit(1);
}

static uint16_t get16(const uint8_t *at)
{
	return be16toh(*(const volatile uint16_t *)at);
}

static uint32_t get32(const uint8_t *at)
{
	return be32toh(*(const volatile uint32_t *)at);
}

static uint64_t get64(const uint8_t *at)
{
	return be64toh(*(const volatile uint64_t *)at);
}

static void put32(uint8_t *at, uint32_t value)
{
	*(uint32_t *)at = htobe32(value);
}

// ---- memory ----------------------------------------------------------------------------------------------------------------

// The region that a key names: the MPT index rotated left by 8.
static const struct region *find_region(const struct guest *guest, uint32_t key)
{
	const uint32_t mpt_key = key >> 8 | key << 24;
	const struct region *region = &guest->regions[mpt_key & (REGIONS - 1)];

	if (region->key != mpt_key || region->length == 0)
		fail("no region has key 0x%x", key);
	return region;
}

// Points the walk at its next byte; `run` bytes follow it in the same page of the same segment.
static void locate(struct walk *walk)
{
	const struct sge *sge = &walk->list->sges[walk->index];
	const struct guest *guest = walk->guest;
	const struct region *region = find_region(guest, sge->lkey);
	const uint64_t distance = sge->address - region->start;

	if (region->pd != walk->pd || (region->access & walk->access) != walk->access)
		fail("key 0x%x does not grant 0x%x to protection domain %u", sge->lkey, walk->access, walk->pd);
	if (distance > region->length || sge->length > region->length - distance)
		fail("key 0x%x: outside its region", sge->lkey);
	const uint64_t offset = distance + walk->done + (region->start & (PAGE_BYTES - 1));
	const uint64_t entry_at = region->mtt + 8 * (offset >> PAGE_SHIFT);
	const uint64_t icm_page = entry_at >> PAGE_SHIFT;

	if (icm_page >= ICM_PAGES || guest->icm[icm_page] == UINT64_MAX)
		fail("ICM page %llu is not mapped", (unsigned long long)icm_page);
	const uint64_t entry = get64(guest->ram + guest->icm[icm_page] + (entry_at & (PAGE_BYTES - 1)));
	const uint32_t in_page = offset & (PAGE_BYTES - 1);
	const uint64_t at = (entry & ~(uint64_t)(PAGE_BYTES - 1)) - guest->dma_base + in_page;
	const uint32_t in_page_left = PAGE_BYTES - in_page, in_segment_left = sge->length - walk->done;

	if ((entry & MTT_PRESENT) == 0 || at >= guest->ram_bytes)
		fail("key 0x%x: no memory behind it", sge->lkey);
	walk->at = guest->ram + at;
	walk->run = in_page_left < in_segment_left ? in_page_left : in_segment_left;
}

static void advance(struct walk *walk, uint32_t bytes)
{
	walk->done += bytes;
	if (walk->done < walk->list->sges[walk->index].length)
		return;
	walk->done = 0;
	walk->index++;
}

static void move(struct walk *source, struct walk *target)
{
	for (uint32_t left = source->list->total; left > 0;) {
		locate(source);
		locate(target);
		const uint32_t piece = source->run < target->run ? source->run : target->run;

		memcpy(target->at, source->at, piece);
		advance(source, piece);
		advance(target, piece);
		left -= piece;
	}
}

// ---- queues ----------------------------------------------------------------------------------------------------------------

static void add_segment(struct list *list, const uint8_t *at, uint32_t lkey)
{
	struct sge *sge = &list->sges[list->count];

	if (list->count == SGES)
		fail("more than %d data segments", SGES);
	sge->length = get32(at) & 0x7fffffff;
	sge->lkey = lkey;
	sge->address = get64(at + 8);
	if (sge->length == 0)
		return;
	list->total += sge->length;
	list->count++;
}

static void decode_send(struct list *list, const uint8_t *at, const uint8_t *end)
{
	list->count = list->total = 0;
	for (; at + SEGMENT_BYTES <= end; at += SEGMENT_BYTES)
		add_segment(list, at, get32(at + 4));
}

// Up to the end of the WQE or the entry that ends the list.
static void decode_receive(struct list *list, const uint8_t *at, const uint8_t *end)
{
	list->count = list->total = 0;
	for (; at + SEGMENT_BYTES <= end; at += SEGMENT_BYTES) {
		const uint32_t lkey = get32(at + 4);

		if (lkey == INVALID_LKEY && get32(at) == 0)
			break;
		add_segment(list, at, lkey);
	}
}

// `last_word` is the entry's last dword as a little-endian host stores it: opcode, direction and owner.
static void complete(struct guest *guest, uint32_t bytes, uint32_t wqe, uint32_t last_word)
{
	struct completion_queue *cq = &guest->cq;
	const uint32_t size = 1u << cq->log_size;
	uint8_t *entry = cq->entries + ((size_t)(cq->producer & (size - 1)) << CQE_SHIFT);

	if (cq->producer - cq->consumer >= size) {
		cq->consumer = get32(cq->ci_record);
		if (cq->producer - cq->consumer >= size)
			fail("completion queue overrun");
	}
	put32(entry, guest->qp.number);
	put32(entry + 4, 0);
	put32(entry + 8, 0);
	put32(entry + 12, 0);
	put32(entry + 16, 0);
	put32(entry + 20, bytes);
	put32(entry + 24, wqe);
	// The dword with the owner byte goes last.
	atomic_store_explicit((_Atomic uint32_t *)(entry + 28), last_word, memory_order_release);
	cq->producer++;
}

// Takes the next receive WQE; returns its offset in the queue, or -1 if none is posted.
static int64_t take_receive(struct guest *guest, struct list *list)
{
	struct queue_pair *qp = &guest->qp;
	const uint32_t offset = (qp->rq_head & ((1u << qp->rq_log_size) - 1)) << qp->rq_log_stride;
	const uint8_t *wqe = qp->rq + offset;

	if (get16(qp->rq_record + 2) == qp->rq_head)
		return -1;
	qp->rq_head++;
	decode_receive(list, wqe + NEXT_BYTES, wqe + (1u << qp->rq_log_stride));
	return offset;
}

static uint32_t slot(const struct queue_pair *qp, uint16_t counter)
{
	return (counter & ((1u << qp->sq_log_size) - 1)) << qp->sq_log_stride;
}

static void execute_write(struct guest *near, struct guest *far, const struct list *list, const uint8_t *segment)
{
	const struct sge range = { .lkey = get32(segment + 8), .length = list->total, .address = get64(segment) };
	const struct list remote = { .sges = { range }, .count = 1, .total = list->total };
	struct walk source = { .guest = near, .list = list, .pd = near->qp.pd, .access = LOCAL_READ };
	struct walk target = { .guest = far, .list = &remote, .pd = far->qp.pd, .access = REMOTE_WRITE };

	move(&source, &target);
}

static bool execute_send(struct guest *near, struct guest *far, const struct list *list)
{
	struct list receive;
	const int64_t offset = take_receive(far, &receive);
	struct walk source = { .guest = near, .list = list, .pd = near->qp.pd, .access = LOCAL_READ };
	struct walk target = { .guest = far, .list = &receive, .pd = far->qp.pd, .access = LOCAL_WRITE };

	if (offset < 0)
		return false;
	if (list->total > receive.total)
		fail("the message is longer than the receive");
	move(&source, &target);
	complete(far, list->total, (uint32_t)offset, BTH_SEND_ONLY);
	return true;
}

// Carries out the WQE at the head of the send queue; false if it must wait for a receive.
static bool execute(struct guest *near, struct guest *far)
{
	struct queue_pair *qp = &near->qp;
	// Opcode and size are in the slot before.
	const uint8_t *previous = qp->sq + slot(qp, qp->sq_head - 1);
	const uint32_t opcode = get32(previous) & 0x1f, bytes = (get32(previous + 4) & 0x3f) * 16;
	const uint8_t *wqe = qp->sq + slot(qp, qp->sq_head);
	const uint8_t *segments = wqe + NEXT_BYTES, *end = wqe + bytes;
	struct list list;

	if (bytes < NEXT_BYTES || bytes > 1u << qp->sq_log_stride)
		fail("a WQE of %u bytes", bytes);
	if (opcode == OPCODE_RDMA_WRITE) {
		decode_send(&list, segments + SEGMENT_BYTES, end);
		execute_write(near, far, &list, segments);
	} else if (opcode == OPCODE_SEND) {
		decode_send(&list, segments, end);
		if (!execute_send(near, far, &list))
			return false;
	} else {
		fail("opcode %u", opcode);
	}
	if (get32(wqe + 8) & SIGNALED)
		complete(near, 0, qp->sq_base + slot(qp, qp->sq_head), opcode | IS_SEND);
	qp->sq_head++;
	return true;
}

// The doorbell is a hint, the record the truth.
static void turn(struct guest *near, struct guest *far)
{
	struct queue_pair *qp = &near->qp;

	if (atomic_load_explicit(&near->doorbell[1], memory_order_relaxed) != 0) {
		atomic_exchange(&near->doorbell[0], 0);
		atomic_exchange(&near->doorbell[1], 0);
	}
	qp->sq_posted = get16(qp->sq_record + 2);
	atomic_thread_fence(memory_order_acquire);
	for (int i = 0; i < TURN_WQES && qp->sq_head != qp->sq_posted; i++)
		if (!execute(near, far))
			return;
}

// ---- setup -----------------------------------------------------------------------------------------------------------------

static uint8_t *map_file(const char *path, size_t bytes)
{
	const int fd = open(path, O_RDWR);
	uint8_t *memory = fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		fail("%s cannot be mapped", path);
	close(fd);
	return memory;
}

static void open_guest(struct guest *guest, const char *line)
{
	char ram[256], uar[256];
	unsigned long long uar_at;

	if (sscanf(line, "%255s %llu %llu %255s %llu", ram, (unsigned long long *)&guest->ram_bytes,
		   (unsigned long long *)&guest->dma_base, uar, &uar_at) != 5)
		fail("guest %s", line);
	guest->ram = map_file(ram, guest->ram_bytes);
	guest->doorbell = (_Atomic uint32_t *)(map_file(uar, uar_at + PAGE_BYTES) + uar_at + SEND_DOORBELL);
	guest->icm = malloc(ICM_PAGES * sizeof(*guest->icm));
	memset(guest->icm, 0xff, ICM_PAGES * sizeof(*guest->icm));
}

// Reads as many numbers as the thing has.
static int numbers(const char *line, unsigned long long *values, int limit)
{
	int count = 0;

	for (char *end; count < limit; line = end) {
		values[count] = strtoull(line, &end, 0);
		if (end == line)
			break;
		count++;
	}
	return count;
}

static void describe(struct guest *guest, const char *what, const char *rest)
{
	unsigned long long n[13] = { 0 };
	const int count = numbers(rest, n, 13);

	if (strcmp(what, "icm") == 0 && count == 2 && n[0] < ICM_PAGES) {
		guest->icm[n[0]] = n[1];
	} else if (strcmp(what, "region") == 0 && count == 7 && n[0] < REGIONS) {
		guest->regions[n[0]] = (struct region){ .key = (uint32_t)n[1], .start = n[2], .length = n[3],
							.access = (uint32_t)n[4], .pd = (uint32_t)n[5], .mtt = n[6] };
	} else if (strcmp(what, "qp") == 0 && count == 13) {
		guest->qp = (struct queue_pair){ .number = (uint32_t)n[0], .pd = (uint32_t)n[1], .sq = guest->ram + n[2],
						 .sq_base = (uint32_t)n[3], .sq_log_size = (uint32_t)n[4],
						 .sq_log_stride = (uint32_t)n[5], .sq_record = guest->ram + n[6],
						 .sq_head = (uint16_t)n[7], .rq = guest->ram + n[8],
						 .rq_log_size = (uint32_t)n[9], .rq_log_stride = (uint32_t)n[10],
						 .rq_record = guest->ram + n[11], .rq_head = (uint16_t)n[12] };
	} else if (strcmp(what, "cq") == 0 && count == 4) {
		guest->cq = (struct completion_queue){ .entries = guest->ram + n[0], .log_size = (uint32_t)n[1],
						       .ci_record = guest->ram + n[2], .producer = (uint32_t)n[3],
						       .consumer = (uint32_t)n[3] };
	} else {
		fail("what is \"%s %s\"?", what, rest);
	}
}

int main(void)
{
	static struct guest guests[2];
	char line[1024], what[16];
	int count = 0, at;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (sscanf(line, "%15s %n", what, &at) != 1)
			fail("an empty line");
		if (strcmp(what, "guest") == 0 && count < 2)
			open_guest(&guests[count++], line + at);
		else if (count > 0)
			describe(&guests[count - 1], what, line + at);
	}
	if (count != 2)
		fail("expected two guests");
	puts("ready");
	fflush(stdout);
	for (;;) {
		turn(&guests[0], &guests[1]);
		turn(&guests[1], &guests[0]);
	}
}
