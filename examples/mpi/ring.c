// A token goes around all ranks, each of which adds its number; then everybody tells rank 0 how long a turn took.
//   vhca run --nodes 4 --packages libopenmpi-dev,gcc --mpi --build 'mpicc -O2 -o ring ring.c' -- ./ring 1000
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  int rank, size, name_length, turns = argc > 1 ? atoi(argv[1]) : 100;
  char name[MPI_MAX_PROCESSOR_NAME];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Get_processor_name(name, &name_length);
  int next = (rank + 1) % size, previous = (rank + size - 1) % size;
  long token = 0;
  double start = MPI_Wtime();
  for (int turn = 0; turn < turns; turn++) {
    if (rank > 0) MPI_Recv(&token, 1, MPI_LONG, previous, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    token += rank;
    MPI_Send(&token, 1, MPI_LONG, next, 0, MPI_COMM_WORLD);
    if (rank == 0) MPI_Recv(&token, 1, MPI_LONG, previous, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  double mine = (MPI_Wtime() - start) / turns, slowest;
  MPI_Reduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
  printf("rank %d on %s\n", rank, name);
  long expected = (long)turns * size * (size - 1) / 2;
  if (rank == 0) printf("%d turns, token %ld (expected %ld), %.1f us for each hop\n", turns, token, expected, slowest / size * 1e6);
  MPI_Finalize();
  return rank == 0 && token != expected;
}
