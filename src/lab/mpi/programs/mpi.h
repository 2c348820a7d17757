// The little of MPI that our own programs use, so that they compile in every guest: with tcc, and without the headers of an MPI package.
// Handles and constants are not part of the MPI standard's text; these are the two binary interfaces in Debian, that of Open MPI
// (libmpi.so.40: handles are addresses of its variables) and that of the MPICH ABI initiative (libmpi.so.12: handles are numbers).
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct { int words[16]; } MPI_Status; // larger than either's

#ifdef OPEN_MPI
typedef void *MPI_Comm, *MPI_Datatype, *MPI_Request, *MPI_Win, *MPI_Info, *MPI_Op;
#define MPI_COMM_WORLD mpi_variable("ompi_mpi_comm_world")
#define MPI_BYTE mpi_variable("ompi_mpi_byte")
#define MPI_INT mpi_variable("ompi_mpi_int")
#define MPI_LONG mpi_variable("ompi_mpi_long")
#define MPI_SUM mpi_variable("ompi_mpi_op_sum")
#define MPI_INFO_NULL mpi_variable("ompi_mpi_info_null")
#define MPI_STATUS_IGNORE ((MPI_Status *)0)
#define MPI_STATUSES_IGNORE ((MPI_Status *)0)
static void *mpi_variable(const char *name) {
  void *variable = dlsym(0, name);
  if (!variable) fprintf(stderr, "this is not Open MPI: no %s\n", name), exit(1);
  return variable;
}
#else
typedef int MPI_Comm, MPI_Datatype, MPI_Request, MPI_Win, MPI_Info, MPI_Op;
#define MPI_COMM_WORLD 0x44000000
#define MPI_BYTE 0x4c00010d
#define MPI_INT 0x4c000405
#define MPI_LONG 0x4c000807
#define MPI_SUM 0x58000003
#define MPI_INFO_NULL 0x1c000000
#define MPI_STATUS_IGNORE ((MPI_Status *)1)
#define MPI_STATUSES_IGNORE ((MPI_Status *)1)
#endif

int MPI_Init(int *argc, char ***argv);
int MPI_Finalize(void);
int MPI_Abort(MPI_Comm comm, int status);
int MPI_Comm_rank(MPI_Comm comm, int *rank);
int MPI_Comm_size(MPI_Comm comm, int *size);
int MPI_Barrier(MPI_Comm comm);
int MPI_Send(const void *from, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm);
int MPI_Recv(void *to, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Status *status);
int MPI_Isend(const void *from, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request);
int MPI_Irecv(void *to, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request);
int MPI_Waitall(int count, MPI_Request *requests, MPI_Status *statuses);
double MPI_Wtime(void);

typedef long MPI_Aint;
int MPI_Win_allocate(MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm, void *base, MPI_Win *window);
int MPI_Win_free(MPI_Win *window);
int MPI_Win_lock_all(int assertion, MPI_Win window);
int MPI_Win_unlock_all(MPI_Win window);
int MPI_Win_flush_all(MPI_Win window);
int MPI_Put(const void *from, int count, MPI_Datatype type, int to, MPI_Aint at, int count_there, MPI_Datatype type_there, MPI_Win window);
int MPI_Fetch_and_op(const void *operand, void *before, MPI_Datatype type, int to, MPI_Aint at, MPI_Op op, MPI_Win window);
