// A guest that does to its own HCA whatever it can: it makes queue pairs, completion queues and shared receive queues through
// libibverbs, then writes over their rings, their doorbell records and the UAR pages, or over the HCR. Half of what it
// writes is random, half are words that nearly make sense: its keys, addresses and numbers, and guesses at other guests'.
//   tcc -rdynamic -o hostile hostile.c && ./hostile queues|commands SECONDS SEED LIDS
// Output: "rings BYTES in AREAS", then what was done, in words and commands. After `commands` the guest's own driver is past
// help: the program does not end, because the kernel cannot take its objects down. Needs root and iomem=relaxed.
// Layouts: docs "infinihost" 1.2 (HCR), 5.1 (doorbells); the structures of libibverbs as verbs.h has them.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, UAR_BYTES = 8 << 20, QPS = 16, BUFFER = 1 << 20, AREAS_MAX = 256 };
enum { HCR_PAGE = 0x80000, HCR = 0x680, HCR_PAGES_BYTES = 0x2000, GO = 1 << 23 };
enum { RC = 2, UC = 3, UD = 4, RESET = 0, INIT = 1, RTR = 2, RTS = 3 };

// --- randomness (xorshift64*), from the seed only

static uint64_t state;
static uint32_t random32(void) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1dull >> 32;
}
static uint32_t below(uint32_t limit) { return (uint64_t)random32() * limit >> 32; }

// --- what libmthca maps for itself is rings and doorbell records: the mapping goes through us

static struct { uint32_t *words; size_t bytes; } areas[AREAS_MAX];
static int area_count, is_watching;

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  void *start = (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
  if (is_watching && start != MAP_FAILED && flags & MAP_ANONYMOUS && flags & MAP_PRIVATE && area_count < AREAS_MAX) {
    areas[area_count].words = start;
    areas[area_count++].bytes = bytes;
  }
  return start;
}
void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return mmap(address, bytes, protection, flags, fd, offset);
}
// --- libibverbs, by hand

struct cap { uint32_t send_wr, recv_wr, send_sge, recv_sge, inline_bytes; };
struct qp_init { void *context, *send_cq, *recv_cq, *srq; struct cap cap; int type, signal_all; };
struct srq_init { void *context; uint32_t wr, sge, limit; };
struct address { uint64_t gid[2]; uint32_t flow; uint8_t sgid, hops, class_; uint16_t dlid; uint8_t sl, path_bits, rate, is_global, port; };
struct qp_attr {
  uint32_t state, current, mtu, migration, qkey, rq_psn, sq_psn, dest_qp, access;
  struct cap cap;
  struct address path, alternate;
  uint16_t pkey, alternate_pkey;
  uint8_t sqd_notify, draining, reads, dest_reads, rnr_timer, port, timeout, retries, rnr_retries, alternate_port, alternate_timeout;
  uint32_t rate_limit;
};
struct qp { void *context, *user, *pd, *send_cq, *recv_cq, *srq; uint32_t handle, number; };
struct mr { void *context, *pd, *addr; size_t bytes; uint32_t handle, lkey, rkey; };

static int (*modify_qp)(struct qp *, struct qp_attr *, int);
static struct qp *qps[QPS];
static int types[QPS];
static struct mr *region;
static char *buffer;
static int lids[8], lid_count;

// What a transition must name, by type of queue pair (IBA 11.2.5.2).
enum {
  STATE = 1, ACCESS = 8, PKEY = 16, PORT = 32, QKEY = 64, PATH = 128, MTU = 256, TIMEOUT = 512, RETRIES = 1024, RNR_RETRIES = 2048,
  RQ_PSN = 4096, READS = 8192, RNR_TIMER = 32768, SQ_PSN = 65536, DEST_READS = 131072, DEST_QP = 1 << 20,
  CONNECT = STATE | PATH | MTU | RQ_PSN | DEST_QP,
};
static int to_init(int type) { return STATE | PKEY | PORT | (type == UD ? QKEY : ACCESS); }
static int to_receive(int type) { return type == UD ? STATE : type == UC ? CONNECT : CONNECT | RNR_TIMER | DEST_READS; }
static int to_send(int type) { return type == RC ? STATE | SQ_PSN | TIMEOUT | RETRIES | RNR_RETRIES | READS : STATE | SQ_PSN; }

// A queue pair that failed, ready again and connected to one of this guest's own or, perhaps, to one of another guest's first ones:
// numbers have a few random bits on top. (Not one with an SRQ: libmthca follows that ring's numbers out of its own memory.)
static int is_revivable(int i) { return i % 4 != 3; }
static void revive(int i) {
  struct qp_attr attr;
  int is_own = below(2), type = types[i];
  memset(&attr, 0, sizeof attr);
  attr.port = attr.path.port = attr.retries = attr.rnr_retries = attr.rnr_timer = 1;
  attr.access = 15;
  attr.qkey = 0x11111111;
  attr.mtu = attr.reads = attr.dest_reads = 4;
  attr.timeout = 8;
  attr.dest_qp = is_own ? qps[below(QPS)]->number : below(64) << 16 | 0x400 + below(64);
  attr.path.dlid = lids[is_own ? 0 : below(lid_count)];
  attr.state = RESET;
  modify_qp(qps[i], &attr, STATE);
  attr.state = INIT;
  modify_qp(qps[i], &attr, to_init(type));
  attr.state = RTR;
  modify_qp(qps[i], &attr, to_receive(type));
  attr.state = RTS;
  modify_qp(qps[i], &attr, to_send(type));
}

static void *symbol(void *lib, const char *name) {
  void *found = dlsym(lib, name);
  if (!found) { fprintf(stderr, "no %s\n", name); exit(1); }
  return found;
}

static void make_objects(void) {
  void *lib = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (!lib) { fprintf(stderr, "%s\n", dlerror()); exit(1); }
  void **(*list)(int *) = symbol(lib, "ibv_get_device_list");
  void *(*open_device)(void *) = symbol(lib, "ibv_open_device"), *(*alloc_pd)(void *) = symbol(lib, "ibv_alloc_pd");
  void *(*create_cq)(void *, int, void *, void *, int) = symbol(lib, "ibv_create_cq");
  void *(*create_srq)(void *, struct srq_init *) = symbol(lib, "ibv_create_srq");
  struct qp *(*create_qp)(void *, struct qp_init *) = symbol(lib, "ibv_create_qp");
  struct mr *(*reg_mr)(void *, void *, size_t, int) = symbol(lib, "ibv_reg_mr");
  modify_qp = symbol(lib, "ibv_modify_qp");
  int count;
  void **devices = list(&count);
  is_watching = 1;
  void *context = count ? open_device(devices[0]) : 0;
  if (!context) { fprintf(stderr, "no device\n"); exit(1); }
  void *pd = alloc_pd(context);
  buffer = mmap(0, BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  region = reg_mr(pd, buffer, BUFFER, 15);
  struct srq_init srq_init = {0, 255, 2, 0};
  void *srq = create_srq(pd, &srq_init);
  for (int i = 0; i < QPS; i++) {
    void *cq = create_cq(context, 255, 0, 0, 0);
    struct qp_init init = {0, cq, cq, i % 4 == 3 ? srq : 0, {128, 128, 4, 4, 64}, types[i] = i % 4 == 1 ? UD : i % 4 == 2 ? UC : RC, 1};
    qps[i] = cq ? create_qp(pd, &init) : 0;
    if (!qps[i] || !region) { perror("object"); exit(1); }
  }
  for (int i = 0; i < QPS; i++) revive(i);
  is_watching = 0;
}

// --- words that nearly make sense

static uint32_t swap(uint32_t word) { return word >> 24 | word >> 8 & 0xff00 | word << 8 & 0xff0000 | word << 24; }

static uint32_t plausible(void) {
  struct qp *qp = qps[below(QPS)];
  switch (below(10)) {
    case 0: return swap(region->lkey);
    case 1: return swap((uint32_t)((uintptr_t)buffer >> 32));
    case 2: return swap((uint32_t)(uintptr_t)buffer + below(BUFFER));
    case 3: return swap(qp->number << 8 | below(64));
    case 4: return swap(1u << below(32));
    case 5: return swap(below(256) << 24 | below(256) << 8 | below(32));
    case 6: return swap(lids[below(lid_count)] | random32() << 16);
    case 7: return swap(below(256) << 24 | 0x1f00 | below(256));
    case 8: return swap(below(2048) << 6 | below(32));
    default: return below(2) ? 0 : ~0u;
  }
}
static uint32_t word(void) { return below(2) ? random32() : plausible(); }

// --- what is written over

static long ring_words, uar_words, hcr_words, commands, revived;

static void spoil_rings(void) {
  int area = below(area_count);
  uint32_t count = areas[area].bytes / 4, start = below(count), length = 1 + below(64);
  for (uint32_t i = start; i < count && i < start + length; i++, ring_words++) ((volatile uint32_t *)areas[area].words)[i] = word();
}

// Mostly a doorbell of its own page, with a queue pair's number in it: the others are looked at and refused.
static void spoil_uar(volatile uint32_t *all, volatile uint32_t *own) {
  volatile uint32_t *page = below(4) ? own : all + below(UAR_BYTES / PAGE) * (PAGE / 4);
  if (below(4) == 0) page[below(PAGE / 4)] = word();
  else if (below(2)) *(volatile uint64_t *)(page + 4) = (uint64_t)plausible() << 32 | swap(below(8) << 24 | below(65536) << 8 | below(32));
  else *(volatile uint64_t *)(page + 8) = (uint64_t)random32() << 32 | swap(below(4) << 28 | below(4) << 24 | below(4096));
  uar_words++;
}

// The mailbox is a page of its own full of such words, so that a command has something to read and to spoil.
static void spoil_hcr(volatile uint32_t *pages, uint64_t mailbox) {
  if (below(4) == 0) { pages[below(HCR_PAGES_BYTES / 4)] = word(); hcr_words++; return; }
  static const uint16_t opcodes[] = {3, 4, 6, 9, 0xa, 0xc, 0xd, 0xe, 0xf, 0x12, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1e, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x31, 0x35, 0x36, 0x37, 0x40};
  volatile uint32_t *hcr = pages + HCR / 4;
  uint64_t in = below(4) ? mailbox : (uint64_t)random32() << 32 | random32();
  for (int i = 0; i < 64; i++) ((uint32_t *)buffer)[i] = word();
  hcr[0] = swap(in >> 32); hcr[1] = swap(in); hcr[2] = swap(below(2) ? below(4096) : random32());
  hcr[3] = swap(mailbox >> 32); hcr[4] = swap(mailbox); hcr[5] = random32();
  hcr[6] = swap(GO | below(16) << 12 | (below(8) ? opcodes[below(sizeof opcodes / 2)] : below(4096)));
  commands++;
}

static volatile uint32_t *resource(int number, long offset, size_t bytes) {
  char path[80];
  sprintf(path, "/sys/class/infiniband/mthca0/device/resource%d", number);
  void *start = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, open(path, O_RDWR | O_SYNC), offset);
  if (start == MAP_FAILED) { perror(path); exit(1); }
  return start;
}

// libmthca maps one UAR page per open device; the kernel tells where.
static volatile uint32_t *own_uar(void) {
  char line[512], rights[8];
  unsigned long start;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps))
    if (strstr(line, "/dev/infiniband/uverbs") && sscanf(line, "%lx-%*x %7s", &start, rights) == 2 && rights[1] == 'w') return (void *)start;
  fprintf(stderr, "no UAR page\n");
  exit(1);
  return 0;
}

// proc(5), pagemap: the page frame number is in the low 55 bits
static uint64_t physical(void *address) {
  uint64_t entry = 0;
  pread(open("/proc/self/pagemap", O_RDONLY), &entry, 8, (uintptr_t)address / PAGE * 8);
  return (entry & (1ull << 55) - 1) * PAGE;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void spoil_queues(volatile uint32_t *uars, volatile uint32_t *own) {
  int i = below(QPS);
  if (below(512) == 0 && is_revivable(i)) { revive(i); revived++; }
  else if (below(2)) spoil_rings();
  else spoil_uar(uars, own);
}

int main(int argc, char **argv) {
  if (argc < 5) { fprintf(stderr, "hostile queues|commands SECONDS SEED LIDS\n"); return 2; }
  int is_queues = argv[1][0] == 'q';
  double seconds = atof(argv[2]);
  state = strtoull(argv[3], 0, 0) * 0x9e3779b97f4a7c15ull | 1;
  for (int i = 4; i < argc && lid_count < 8; i++) lids[lid_count++] = strtol(argv[i], 0, 0);
  make_objects();
  size_t bytes = 0;
  for (int i = 0; i < area_count; i++) bytes += areas[i].bytes;
  printf("rings %zu in %d\n", bytes, area_count);
  volatile uint32_t *uars = resource(2, 0, UAR_BYTES), *own = own_uar(), *hcr = resource(0, HCR_PAGE, HCR_PAGES_BYTES);
  uint64_t mailbox = physical(buffer);
  double start = now();
  for (long i = 0; i % 64 || now() - start < seconds; i++)
    if (is_queues) spoil_queues(uars, own);
    else spoil_hcr(hcr, mailbox);
  printf("words: rings %ld, UAR %ld, HCR %ld; commands %ld; queue pairs revived %ld\n", ring_words, uar_words, hcr_words, commands, revived);
  fflush(stdout);
  _exit(0);
}
