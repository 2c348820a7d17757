// struct msghdr as recvmsg(2) and sendmsg(2) take it on a 64-bit little-endian Linux: offsets of its fields.

export const MSG_NAME = 0;
export const MSG_NAMELEN = 8;
export const MSG_IOV = 16;
export const MSG_IOVLEN = 24;
export const MSG_CONTROL = 32;
export const MSG_CONTROLLEN = 40;
export const MSG_FLAGS = 48;
