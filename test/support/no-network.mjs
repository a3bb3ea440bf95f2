/**
 * Preloaded with `node --import`: from then on the kernel kills the process, or a child of it, with SIGSYS when it asks for an internet
 * socket (seccomp(2)), even for a host name that nothing answers. Linux on x64 and arm64. Plain JavaScript, since it comes before any loader.
 */
import { isMainThread } from 'node:worker_threads'
import koffi from 'koffi'

/** AUDIT_ARCH_*, and the numbers of socket(2) and seccomp(2). */
const machines = {
  x64: { arch: 0xc000003e, socket: 41, seccomp: 317 },
  arm64: { arch: 0xc00000b7, socket: 198, seccomp: 277 },
}
const [AF_INET, AF_INET6] = [2, 10]

if (isMainThread) forbidInternetSockets() // threads have the filter of the process

function forbidInternetSockets() {
  const { arch, socket, seccomp } = machines[process.arch]
  const [load, jumpIfEqual, give] = [0x20, 0x15, 0x06] // BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
  const [allow, kill] = [0x7fff0000, 0x80000000]
  // struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
  const [nr, architecture, domain] = [0, 4, 16]
  const program = [
    [load, 0, 0, architecture],
    [jumpIfEqual, 0, 5, arch], // another architecture has other numbers: kill
    [load, 0, 0, nr],
    [jumpIfEqual, 0, 4, socket],
    [load, 0, 0, domain],
    [jumpIfEqual, 1, 0, AF_INET],
    [jumpIfEqual, 0, 1, AF_INET6],
    [give, 0, 0, kill],
    [give, 0, 0, allow],
  ]
  const filter = Buffer.alloc(8 * program.length)
  for (const [i, [code, ifTrue, ifFalse, k]] of program.entries()) {
    filter.writeUInt16LE(code, 8 * i)
    filter.writeUInt8(ifTrue, 8 * i + 2)
    filter.writeUInt8(ifFalse, 8 * i + 3)
    filter.writeUInt32LE(k, 8 * i + 4)
  }
  const libc = koffi.load(null)
  const fprog = koffi.struct({ len: 'uint16_t', filter: 'uint8_t *' })
  const prctl = libc.func('int prctl(int option, ulong a, ulong b, ulong c, ulong d)')
  const call = libc.func('syscall', 'long', ['long', 'ulong', 'ulong', koffi.pointer(fprog)])
  const [setNoNewPrivileges, setModeFilter, allThreads] = [38, 1, 1]
  if (
    prctl(setNoNewPrivileges, 1, 0, 0, 0) !== 0 ||
    call(seccomp, setModeFilter, allThreads, { len: program.length, filter }) !== 0
  )
    throw new Error(`seccomp is refused (errno ${koffi.errno()})`)
}
