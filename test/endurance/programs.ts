// The packaged programs that verbs users know, each as a server and a client between two guests, with what it must say. Those that
// cannot work with this HCA or by their own rules must refuse with their own sentence, not hang.

import { shortOrLong } from "./long-runs.ts";

export interface Program {
  readonly name: string;
  readonly server: string;
  readonly client: string;
  /** In the client's output of a success. */
  readonly says?: RegExp;
  /** What both or one of them say when they refuse, which they must. */
  readonly refuses?: RegExp;
  /** Only in long runs. */
  readonly isLong?: boolean;
}

type More = Pick<Program, "says" | "refuses" | "isLong">;

/** A perftest: with rdma_cm (-R, -z) it names its peer's IPoIB address. */
function perftest(command: string, more: More = {}): Program {
  const peer = / -[Rz]\b/.test(command) ? "n1-ib" : "n1";
  return { name: command, server: command, client: `${command} ${peer}`, ...more };
}

/** A program of rdmacm-utils whose client takes the same options and `-s PEER`. */
function cm(command: string, more: More = {}): Program {
  return { name: command, server: command, client: `${command} -s n1-ib`, ...more };
}

const LONG = { isLong: true };
/** Buffers of the largest message are filled byte by byte by the program, which takes an emulated guest seconds. */
const ALL_SIZES = "-a -n 5";

const everySize = [
  perftest(`ib_send_bw -c UD ${ALL_SIZES}`, { says: /^ 2048 +5 /m }),
  ...[
    "ib_write_bw",
    "ib_send_bw",
    "ib_send_bw -c UC",
    "ib_send_lat",
    "ib_send_lat -c UC",
    "ib_write_bw -c UC",
    "ib_write_lat",
  ].map((command) => perftest(`${command} ${ALL_SIZES}`, { says: /^ 8388608 +5 /m, ...LONG })),
  ...["ib_read_bw", "ib_read_lat", "ib_write_bw -b"].map((command) =>
    perftest(`${command} ${ALL_SIZES}`, { says: /^ 8388608 +\d/m, ...LONG }),
  ),
  perftest(`ib_send_lat -c UD ${ALL_SIZES}`, { says: /^ 2048 +5 /m, ...LONG }),
];

/** `ib_write_*` waits for data, not for completions: there is no event to wait for. */
const noEvents = { refuses: /Events feature not available on WRITE verb/ };

const events = [
  perftest("ib_send_bw -e -n 200"),
  perftest("ib_send_lat -e -c UD -n 100"),
  perftest("ib_read_bw -e -n 200"),
  perftest("ib_atomic_bw -e -n 100"),
  perftest("ib_write_bw -e", noEvents),
  perftest("ib_write_lat -e", { ...noEvents, ...LONG }),
  ...["ib_send_bw -c UC", "ib_send_bw -c UD", "ib_send_lat", "ib_send_lat -c UC", "ib_read_lat", "ib_atomic_lat"].map((command) =>
    perftest(`${command} -e -n 100`, LONG),
  ),
];

const manyQueuePairs = [
  perftest("ib_write_bw -q 64 -s 4096 -n 20", { says: /^ 4096 +1280 /m }),
  perftest("ib_send_bw -q 16 -c UD -n 50"),
  perftest("ib_read_bw -q 16 -n 50"),
  perftest("ib_atomic_bw -q 16 -n 50"),
  perftest("ib_send_bw -r 64 --use-srq -q 8 -n 100"),
  perftest("ib_write_bw -q 256 -s 1024 -n 5", LONG),
  ...["ib_send_bw", "ib_send_bw -c UC", "ib_write_bw -c UC", "ib_read_bw", "ib_atomic_bw"].map((command) =>
    perftest(`${command} -q 64 -n 20`, LONG),
  ),
  perftest("ib_send_bw -q 64 -c UD -s 1024 -n 20", LONG),
  perftest("ib_write_bw --mr_per_qp -q 8 -n 100", LONG),
  perftest("ib_send_lat --use-srq -r 64 -n 100", LONG),
];

const connectionManager = [
  perftest("ib_send_bw -R -n 100"),
  perftest("ib_send_lat -R -c UD -n 100"),
  perftest("ib_write_bw -R -q 16 -n 50"),
  perftest("ib_read_lat -R -n 100"),
  perftest("ib_write_bw -z -n 100"),
  perftest("ib_send_bw -R -c UC", { refuses: /UC is not supported in librdmacm/ }),
  ...["ib_send_bw -c UD", "ib_send_lat", "ib_write_lat", "ib_read_bw", "ib_atomic_bw", "ib_atomic_lat"].map((command) =>
    perftest(`${command} -R -n 100`, LONG),
  ),
  perftest("ib_send_bw -z -c UC -n 100", LONG),
];

const shapes = [
  perftest("ib_send_bw -b -n 100"),
  perftest("ib_write_bw -b -c UC -n 100"),
  perftest("ib_send_bw -s 1777 -c UC -n 100"),
  perftest("ib_write_bw -s 65537 -n 50 --report_gbits", { says: /Gb\/sec/ }),
  perftest("ib_read_lat -s 1 -n 100"),
  perftest("ib_send_lat -I 400 -s 400 -n 100"),
  perftest("ib_write_lat -I 64 -s 64 -c UC -n 100"),
  perftest("ib_send_bw -g -c UD -n 100"),
  perftest("ib_write_bw --write_with_imm -n 100"),
  perftest("ib_send_bw -l 8 -m 256 -n 160"),
  perftest("ib_send_bw -c UD -x 0 -n 100"),
  perftest("ib_send_bw -D 2"),
  perftest("ib_atomic_lat -A CMP_AND_SWAP -n 100"),
  ...["ib_read_bw -b", "ib_atomic_bw -b", "ib_send_bw -b --report-both -q 4", "ib_write_bw --reversed", "ib_read_bw -o 1"].map(
    (command) => perftest(`${command} -n 100`, LONG),
  ),
  perftest("ib_send_bw -t 8192 -r 8192 -s 64 -n 16384", LONG),
  perftest("ib_write_bw -t 4096 -s 64 -n 5000", LONG),
  perftest("ib_send_bw --recv_post_list=4 -r 512 -n 1000", LONG),
  perftest("ib_atomic_bw -A FETCH_AND_ADD -D 2", LONG),
  perftest("ib_send_bw -c XRC -n 100", { refuses: /Error opening XRC domain/ }),
  perftest("ib_write_bw --odp -n 100", { refuses: /does not support On-Demand Paging/ }),
  perftest("ib_write_bw --use-null-mr -n 100", { refuses: /Couldn't create null MR/, ...LONG }),
];

const ENDLESS_SECONDS = shortOrLong(10, 60);

/** A program without end, pulled down in full flight; it says every five seconds how fast it was. */
function endless(command: string, more: More = {}): Program {
  const endlessly = `${command} --run_infinitely`;
  return {
    name: `${endlessly}, killed after ${ENDLESS_SECONDS} s`,
    // what its peer does then is the peer's affair, but it must end when told
    server: `timeout ${ENDLESS_SECONDS + 5} ${endlessly} >/tmp/endless 2>&1; tail -n 20 /tmp/endless`,
    client: `timeout -s KILL ${ENDLESS_SECONDS} stdbuf -oL ${endlessly} n1 >/tmp/endless; [ $? = 137 ] && cat /tmp/endless`,
    says: /^ \d+ +\d+ +[\d.]+ +[\d.]+/m,
    ...more,
  };
}

const endlessPrograms = [
  endless("ib_write_bw"),
  ...["ib_send_bw", "ib_read_bw", "ib_atomic_bw", "ib_write_bw -c UC", "ib_send_bw -c UD"].map((command) =>
    endless(command, LONG),
  ),
];

const verifyStream = "-T v -C 20 -S 65536";

const rdmacmUtils = [
  cm("udaddy -c 4 -C 20 -S 512", { says: /return status 0/ }),
  cm("ucmatose -c 4 -C 10 -S 1000", { says: /return status 0/ }),
  cm("ucmatose -c 20 -C 10 -S 1000 -m", { says: /return status 0/, ...LONG }),
  {
    name: "mckey",
    server: "mckey -m 239.1.1.1 -C 10 -S 1024 -b n1-ib",
    client: "sleep 2; mckey -m 239.1.1.1 -C 10 -S 1024 -s -b n2-ib",
    says: /data transfers complete/,
  },
  cm("cmtime -c 20", { says: /create id/ }),
  {
    name: "rping -V",
    server: "rping -s -C 20 -S 16384 -V",
    client: "rping -c -C 20 -S 16384 -V -a n1-ib",
  },
  { name: "rdma_client", server: "rdma_server", client: "rdma_client -s n1-ib", says: /rdma_client: end 0/ },
  { name: "rdma_xclient -c r", server: "rdma_xserver -c r", client: "rdma_xclient -s n1-ib -c r", says: /end 0/ },
  {
    name: "rdma_xclient -c x",
    server: "rdma_xserver -c x",
    client: "rdma_xclient -s n1-ib -c x",
    refuses: /rdma_create_(srq|ep)/,
  },
  cm(`rstream ${verifyStream}`, { says: /20 +/ }),
  cm(`riostream ${verifyStream}`, { says: /20 +/ }),
  ...[
    "-S all -C 5",
    "-T b -C 20 -S 4096",
    "-T n -C 20 -S 4096",

    "-T r -C 20 -S 4096",
    "-S 1000000 -C 5",
  ].map((options) => cm(`rstream ${options}`, LONG)),
  ...["-S all -C 5", "-T n -C 20 -S 4096"].map((options) => cm(`riostream ${options}`, LONG)),
  {
    // its server knows no end: the sum of the contents, copied after them, is one
    name: "rcopy, 5 MB compared",
    server: "rcopy & until grep -q -- - /tmp/sum 2>/dev/null; do sleep 0.1; done; kill $!; md5sum </tmp/out | cmp - /tmp/sum",
    client:
      "head -c 5000003 /dev/urandom >/tmp/in; md5sum </tmp/in >/tmp/sum; rcopy /tmp/in n1-ib:/tmp/out && rcopy /tmp/sum n1-ib:/tmp/sum",
  },
];

const verbsUtils: Program[] = [
  {
    name: "ibv_srq_pingpong, 16 QPs",
    server: "ibv_srq_pingpong -q 16 -n 200",
    client: "ibv_srq_pingpong -q 16 -n 200 n1",
    says: /200 iters/,
  },
  {
    name: "ibv_srq_pingpong, 128 QPs, events",
    server: "ibv_srq_pingpong -q 128 -r 256 -e -n 1000",
    client: "ibv_srq_pingpong -q 128 -r 256 -e -n 1000 n1",
    says: /1000 iters/,
    ...LONG,
  },
  { name: "ibv_xsrq_pingpong", server: "ibv_xsrq_pingpong", client: "ibv_xsrq_pingpong n1", refuses: /XRC/i },
];

export const PROGRAMS: readonly Program[] = [
  ...everySize,
  ...events,
  ...manyQueuePairs,
  ...connectionManager,
  ...shapes,
  ...endlessPrograms,
  ...rdmacmUtils,
  ...verbsUtils,
];
