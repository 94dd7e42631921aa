// static_probes N: passes each of its static probes (USDT) N times. The notes are written out here, so that no header is needed.
#include "step.h"
#include <stdlib.h>

// A note of the format that systemtap defined: location, base, semaphore, names, arguments.
#define NOTE(provider, name, semaphore, arguments)                                                                    \
  "990: nop\n"                                                                                                         \
  ".pushsection .note.stapsdt,\"\",\"note\"\n"                                                                          \
  ".balign 4\n.4byte 992f-991f, 994f-993f, 3\n"                                                                        \
  "991: .asciz \"stapsdt\"\n992: .balign 4\n"                                                                          \
  "993: .8byte 990b\n.8byte _.stapsdt.base\n.8byte " semaphore "\n"                                                    \
  ".asciz \"" provider "\"\n.asciz \"" name "\"\n.asciz \"" arguments "\"\n"                                            \
  "994: .balign 4\n.popsection\n"                                                                                      \
  ".ifndef _.stapsdt.base\n"                                                                                           \
  ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                                               \
  ".weak _.stapsdt.base\n.hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n.size _.stapsdt.base, 1\n.popsection\n"       \
  ".endif\n"

unsigned short watched_semaphore __attribute__((section(".probes"), used));
long table[4] = {100, -200, 300, 0x1122334455667788};
int counter = -7;

// The asm is one place: inlining would make more of them on its own account.
static inline __attribute__((always_inline)) void sizes(long value) {
  asm volatile(NOTE("memql", "sizes", "0", "8@%%rax -4@%%eax 2@%%ax -1@%%al -1@%%ah 4@$-5 -8@$-6") ::"a"(value) : "memory");
}

__attribute__((noinline)) void places(long i) {
  long on_stack = 41;
  asm volatile(NOTE("memql", "places", "0", "-8@(%%rbx) -8@8(%%rbx) -8@(%%rbx,%%rcx,8) -4@counter(%%rip) 8@table+16(%%rip) 4@%%xmm0")
               ::"b"(table), "c"(i + 1), "m"(on_stack) : "memory");
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  long n = atol(argv[1]);
  step("start");
  for (long i = 0; i < n; i++) {
    sizes(0x8182838485868788);
    places(i % 3);
    if (watched_semaphore) asm volatile(NOTE("memql", "watched", "watched_semaphore", "-8@%%rdi") ::"D"(i) : "memory");
    // The same probe at two places, its argument elsewhere each time.
    asm volatile(NOTE("memql", "twice", "0", "-8@%%rsi") ::"S"(i) : "memory");
    asm volatile(NOTE("memql", "twice", "0", "-8@%%rdx") ::"d"(i + 100) : "memory");
    asm volatile(NOTE("other", "twice", "0", "") ::: "memory");
  }
  say("semaphore %d\n", watched_semaphore);
  step("done");
}
