// Latency and bandwidth of MPI between ranks 0 and 1, against the length of a message. Arguments: the longest message, and how many
// milliseconds each figure may take. Writes a line for each length (mpi/ping-pong.ts reads it):
//   BYTES LATENCY_US BANDWIDTH_MBPS BATCHES
// Latency is half a round trip of MPI_Send and MPI_Recv; bandwidth is that of WINDOW messages under way in one direction, answered
// once. Both are medians of batches, since a guest that shares its processor has some very slow ones. Contents are verified.
#include "mpi.h"
#include <string.h>

enum { WINDOW = 16, BATCHES_MAX = 64, BATCHES_MIN = 5, PING = 1, WORD = 2 };

static MPI_Comm world;
static MPI_Datatype byte_type, int_type;
static int rank;
static unsigned char *buffer;

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void fail(const char *what, int length) {
  fprintf(stderr, "ping-pong: %s in a message of %d bytes\n", what, length);
  MPI_Abort(world, 3);
}

static unsigned char pattern(int at, int length, int sender) { return (unsigned char)(at * 7 + length + sender * 101 + 1); }

static void fill(int length, int sender) {
  for (int i = 0; i < length; i++) buffer[i] = pattern(i, length, sender);
}

static void verify(int length, int sender) {
  for (int i = 0; i < length; i++)
    if (buffer[i] != pattern(i, length, sender)) fail("a wrong byte", length);
}

static void ping_pong(int length) {
  if (rank == 0) {
    MPI_Send(buffer, length, byte_type, 1, PING, world);
    MPI_Recv(buffer, length, byte_type, 1, PING, world, MPI_STATUS_IGNORE);
  } else {
    MPI_Recv(buffer, length, byte_type, 0, PING, world, MPI_STATUS_IGNORE);
    MPI_Send(buffer, length, byte_type, 0, PING, world);
  }
}

static void stream(int length) {
  MPI_Request requests[WINDOW];
  int word = 0;
  for (int i = 0; i < WINDOW; i++)
    if (rank == 0) MPI_Isend(buffer, length, byte_type, 1, PING, world, &requests[i]);
    else MPI_Irecv(buffer, length, byte_type, 0, PING, world, &requests[i]);
  MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
  if (rank == 0) MPI_Recv(&word, 1, int_type, 1, WORD, world, MPI_STATUS_IGNORE);
  else MPI_Send(&word, 1, int_type, 0, WORD, world);
}

// One exchange each way, with contents that only the sender can have written.
static void check(int length) {
  if (rank == 0) {
    fill(length, 0);
    MPI_Send(buffer, length, byte_type, 1, PING, world);
    memset(buffer, 0, length);
    MPI_Recv(buffer, length, byte_type, 1, PING, world, MPI_STATUS_IGNORE);
    verify(length, 1);
  } else {
    memset(buffer, 0, length);
    MPI_Recv(buffer, length, byte_type, 0, PING, world, MPI_STATUS_IGNORE);
    verify(length, 0);
    fill(length, 1);
    MPI_Send(buffer, length, byte_type, 0, PING, world);
  }
}

// Rank 0 says whether there is another batch: both ends have to agree.
static int agree(int go_on) {
  if (rank == 0) MPI_Send(&go_on, 1, int_type, 1, WORD, world);
  else MPI_Recv(&go_on, 1, int_type, 0, WORD, world, MPI_STATUS_IGNORE);
  return go_on;
}

// Median of the seconds that one call takes.
static double measure(void (*call)(int), int length, int calls, double budget, int *batches) {
  double times[BATCHES_MAX], start = MPI_Wtime();
  int count = 0;
  call(length);
  while (agree(count < BATCHES_MIN || (count < BATCHES_MAX && MPI_Wtime() - start < budget))) {
    double began = MPI_Wtime();
    for (int i = 0; i < calls; i++) call(length);
    times[count++ % BATCHES_MAX] = (MPI_Wtime() - began) / calls;
  }
  qsort(times, count, sizeof times[0], compare);
  *batches = count;
  return times[count / 2];
}

int main(int argc, char **argv) {
  int size, batches, longest = argc > 1 ? atoi(argv[1]) : 1 << 20;
  double budget = (argc > 2 ? atof(argv[2]) : 200) / 1000;
  MPI_Init(&argc, &argv);
  world = MPI_COMM_WORLD, byte_type = MPI_BYTE, int_type = MPI_INT;
  MPI_Comm_rank(world, &rank);
  MPI_Comm_size(world, &size);
  buffer = malloc(longest > 1 ? longest : 1);
  if (size < 2 || !buffer) fail(size < 2 ? "only one rank" : "no memory", longest);
  if (rank < 2) memset(buffer, 1, longest);
  for (int length = 1; rank < 2 && length <= longest; length *= 2) {
    int calls = length <= 8192 ? 40 : length <= 131072 ? 8 : 1;
    check(length);
    double latency = measure(ping_pong, length, calls, budget, &batches) / 2;
    double seconds = measure(stream, length, length <= 8192 ? 4 : 1, budget, &batches);
    if (rank == 0) printf("%d %.3f %.3f %d\n", length, latency * 1e6, (double)length * WINDOW / seconds / 1e6, batches), fflush(stdout);
  }
  MPI_Barrier(world);
  MPI_Finalize();
  return 0;
}
