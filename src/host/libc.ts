// The C library through koffi: every system call this program makes by itself. One small table, so that another FFI can
// take koffi's place one day.
//
// Results are 32-bit ints and addresses are constants or BigInts made once, so that a call allocates nothing on the JavaScript
// heap (a Number beyond 2^31 that is computed or loaded from a field is a new heap number each time). Structures are written
// by hand into native memory (mapping.ts); the layouts used are the same on every 64-bit little-endian Linux. All functions
// return -1 on failure; `lastErrno` then says why.
//
// Measured on 2 shared cores (AMD EPYC, Node 24.21, koffi 3.3.4), ns per call, no garbage collection in 400,000 calls each:
// recvmsg without data 236 + errno 23, write to an eventfd 192, ppoll of one descriptor without timeout 330, sched_yield 220.

import koffi from "koffi";
import { Errno, SystemError } from "./system-error.ts";

const lib = koffi.load(null);

/** Koffi takes either, at the same price. */
type Address = number | bigint;
type Call<A extends readonly Address[]> = (...args: A) => number;

/** Declares a function whose arguments are numbers and addresses. */
const declare = <A extends readonly Address[]>(signature: string): Call<A> => lib.func(signature) as unknown as Call<A>;

export const mmap = declare<[address: number, length: number, protection: number, flags: number, fd: number, offset: number]>(
  "intptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)",
);
export const munmap = declare<[address: number, length: number]>("int munmap(uintptr_t address, size_t length)");
export const ftruncate = declare<[fd: number, length: number]>("int ftruncate(int fd, int64_t length)");
/** 64-bit offsets come back as exact numbers up to 2^53. */
export const lseek = declare<[fd: number, offset: number, whence: number]>("int64_t lseek(int fd, int64_t offset, int whence)");
export const fcntl = declare<[fd: number, command: number, argument: number]>("int fcntl(int fd, int command, int64_t argument)");
export const flock = declare<[fd: number, operation: number]>("int flock(int fd, int operation)");
export const close = declare<[fd: number]>("int close(int fd)");
export const eventfd = declare<[initial: number, flags: number]>("int eventfd(unsigned int initial, int flags)");
export const read = declare<[fd: number, address: number, length: number]>("int read(int fd, uintptr_t address, size_t length)");
export const write = declare<[fd: number, address: number, length: number]>(
  "int write(int fd, uintptr_t address, size_t length)",
);
export const socket = declare<[domain: number, type: number, protocol: number]>("int socket(int domain, int type, int protocol)");
export const bind = declare<[fd: number, address: number, length: number]>(
  "int bind(int fd, uintptr_t address, uint32_t length)",
);
export const setsockopt = declare<[fd: number, level: number, option: number, address: number, length: number]>(
  "int setsockopt(int fd, int level, int option, uintptr_t address, uint32_t length)",
);
export const getsockopt = declare<[fd: number, level: number, option: number, address: number, length: number]>(
  "int getsockopt(int fd, int level, int option, uintptr_t address, uintptr_t length)",
);
export const shutdown = declare<[fd: number, how: number]>("int shutdown(int fd, int how)");
export const listen = declare<[fd: number, backlog: number]>("int listen(int fd, int backlog)");
export const accept4 = declare<[fd: number, address: number, length: number, flags: number]>(
  "int accept4(int fd, uintptr_t address, uintptr_t length, int flags)",
);
export const connect = declare<[fd: number, address: number, length: number]>(
  "int connect(int fd, uintptr_t address, uint32_t length)",
);
export const send = declare<[fd: number, buffer: Address, length: number, flags: number]>(
  "int send(int fd, uintptr_t buffer, size_t length, int flags)",
);
export const sendmsg = declare<[fd: number, message: number, flags: number]>("int sendmsg(int fd, uintptr_t message, int flags)");
export const recvmsg = declare<[fd: number, message: number, flags: number]>("int recvmsg(int fd, uintptr_t message, int flags)");
export const recvmmsg = declare<[fd: number, messages: Address, count: number, flags: number, timeout: number]>(
  "int recvmmsg(int fd, uintptr_t messages, unsigned int count, int flags, uintptr_t timeout)",
);
export const ppoll = declare<[fds: Address, count: number, timeout: Address, signals: Address]>(
  "int ppoll(uintptr_t fds, size_t count, uintptr_t timeout, uintptr_t signals)",
);
/** `ppoll` in a thread of libuv's pool; `done` is called with its error, or null and its result. */
export const ppollElsewhere = (ppoll as unknown as { async: unknown }).async as (
  fds: Address,
  count: number,
  timeout: Address,
  signals: Address,
  done: (error: Error | null, ready: number) => void,
) => void;
export const prctl = declare<[option: number, a: number, b: number, c: number, d: number]>(
  "int prctl(int option, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)",
);
export const schedYield = declare<[]>("int sched_yield()");
/** 0 is the calling thread. */
export const schedSetaffinity = declare<[thread: number, length: number, mask: Address]>(
  "int sched_setaffinity(int thread, size_t length, uintptr_t mask)",
);
export const schedGetaffinity = declare<[thread: number, length: number, mask: Address]>(
  "int sched_getaffinity(int thread, size_t length, uintptr_t mask)",
);
export const schedGetcpu = declare<[]>("int sched_getcpu()");
/** Returns the errno itself, 0 on success. */
export const clockNanosleep = declare<[clock: number, flags: number, request: number, remain: number]>(
  "int clock_nanosleep(int clock, int flags, uintptr_t request, uintptr_t remain)",
);

/** Any system call by its number, which differs between architectures. */
export const syscall = declare<[number: number, a: Address, b: Address, c: Address]>(
  "int syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c)",
);

const memfdCreateString = lib.func("int memfd_create(const char *name, unsigned int flags)") as unknown as (
  name: string,
  flags: number,
) => number;
export const memfdCreate = (name: string, flags: number): number => memfdCreateString(name, flags);

/** Why the last call of this thread failed. */
export const lastErrno = (): number => koffi.errno();

/** An `ArrayBuffer` over `length` bytes at `address`; it never unmaps anything. */
export const viewOf = (address: number, length: number): ArrayBuffer => koffi.view(address, length);

/** Where the bytes of a buffer lie; only good for one that never moves. */
export const addressOf = (buffer: ArrayBuffer): number => Number(koffi.address(buffer));

/** Passes a result on, or throws the errno as a `SystemError` when it is negative. */
export function check(result: number, syscall: string, detail?: string): number {
  if (result >= 0) return result;
  throw new SystemError(syscall, lastErrno(), detail);
}

/** Closes a descriptor; closing one that is not open is a bug of ours and throws. */
export function closeDescriptor(fd: number): void {
  if (close(fd) < 0 && lastErrno() === Errno.EBADF) throw new Error(`invariant: descriptor ${fd} is closed once`);
}

/** A second descriptor of the same open file, close-on-exec. */
export const duplicateDescriptor = (fd: number): number => check(fcntl(fd, Fcntl.DUPFD_CLOEXEC, 0), "fcntl", "F_DUPFD_CLOEXEC");

export const Protection = { NONE: 0, READ: 1, WRITE: 2 } as const;
export const MapFlag = { SHARED: 0x01, PRIVATE: 0x02, FIXED: 0x10, ANONYMOUS: 0x20, NORESERVE: 0x4000 } as const;
export const MfdFlag = { CLOEXEC: 1, ALLOW_SEALING: 2, HUGETLB: 4 } as const;
export const Fcntl = { GETFL: 3, SETFL: 4, DUPFD_CLOEXEC: 1030, ADD_SEALS: 1033, GET_SEALS: 1034 } as const;
export const LockOperation = { EXCLUSIVE: 2, NONBLOCKING: 4 } as const;
export const Seal = { SEAL: 1, SHRINK: 2, GROW: 4, WRITE: 8, FUTURE_WRITE: 16 } as const;
export const OpenFlag = { ACCMODE: 3, RDWR: 2, NONBLOCK: 0o4000, CLOEXEC: 0o2000000 } as const;
export const Whence = { DATA: 3, HOLE: 4 } as const;
export const SocketConstant = {
  AF_UNIX: 1,
  STREAM: 1,
  DGRAM: 2,
  SOL_SOCKET: 1,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SO_LINGER: 13,
  SO_PASSCRED: 16,
  SO_PEERCRED: 17,
  SHUT_RDWR: 2,
  SCM_RIGHTS: 1,
  SCM_CREDENTIALS: 2,
  MSG_CTRUNC: 0x8,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  MSG_CMSG_CLOEXEC: 0x40000000,
} as const;
export const PollEvent = { IN: 1, OUT: 4, ERR: 8, HUP: 16, NVAL: 32 } as const;
export const PR_SET_TIMERSLACK = 29;
export const CLOCK_MONOTONIC = 1;
