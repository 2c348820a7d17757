// What registering and deregistering memory costs in a guest, with libibverbs as programs use it.
//   tcc -run registration.c DEVICE TIMES BYTES...     prints "BYTES REGISTER_US DEREGISTER_US", medians, a line for each size
// The memory has been touched before: the cost is that of pinning and registering, not of page faults.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { LOCAL_WRITE = 1, REMOTE_WRITE = 2, PAGE = 4096, WARM_UP = 5 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, int count) {
  qsort(values, count, sizeof *values, ascending);
  return values[count / 2];
}

int main(int argc, char **argv) {
  if (argc < 4) { fprintf(stderr, "usage: registration DEVICE TIMES BYTES...\n"); return 2; }
  void *lib = dlopen("libibverbs.so.1", RTLD_NOW);
  if (!lib) { fprintf(stderr, "%s\n", dlerror()); return 1; }
  void **(*list)(int *) = dlsym(lib, "ibv_get_device_list");
  const char *(*name_of)(void *) = dlsym(lib, "ibv_get_device_name");
  void *(*open_device)(void *) = dlsym(lib, "ibv_open_device");
  void *(*alloc_pd)(void *) = dlsym(lib, "ibv_alloc_pd");
  void *(*reg_mr)(void *, void *, size_t, int) = dlsym(lib, "ibv_reg_mr");
  int (*dereg_mr)(void *) = dlsym(lib, "ibv_dereg_mr");
  int count = 0;
  void **devices = list(&count), *device = 0;
  for (int i = 0; i < count; i++) if (!strcmp(name_of(devices[i]), argv[1])) device = devices[i];
  void *context = device ? open_device(device) : 0, *pd = context ? alloc_pd(context) : 0;
  if (!pd) { fprintf(stderr, "cannot open %s\n", argv[1]); return 1; }
  int times = atoi(argv[2]);
  double *registering = malloc(times * sizeof(double)), *deregistering = malloc(times * sizeof(double));
  for (int arg = 3; arg < argc; arg++) {
    size_t bytes = strtoull(argv[arg], 0, 0);
    char *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) { perror("mmap"); return 1; }
    for (size_t at = 0; at < bytes; at += PAGE) memory[at] = 1;
    for (int i = -WARM_UP; i < times; i++) {
      double start = now();
      void *mr = reg_mr(pd, memory, bytes, LOCAL_WRITE | REMOTE_WRITE);
      double registered = now();
      if (!mr || dereg_mr(mr)) { fprintf(stderr, "cannot register %zu bytes\n", bytes); return 1; }
      double end = now();
      if (i >= 0) { registering[i] = registered - start; deregistering[i] = end - registered; }
    }
    printf("%zu %.3f %.3f\n", bytes, median(registering, times), median(deregistering, times));
    munmap(memory, bytes);
  }
  return 0;
}
