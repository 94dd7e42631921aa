// entries N: calls each of the functions below N times, with 7 and 11. Each begins in another way: a probe on its
// entry may or may not go past its first instructions. All return the sum of what they were given.
#include "step.h"
#include <stdlib.h>

#define FUNCTION(name, body)                                                                                           \
  asm(".text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n" body "\n.size " #name ", . - " #name "\n");   \
  long name(long a, long b);

// Past the test: the jump is emulated.
FUNCTION(test_then_jump, "test %rdi, %rdi\n je 1f\n 1: lea (%rdi,%rsi), %rax\n ret")
// Past endbr64, but not where a stack is taken: the kernel adds the caller's frame at the push of %rbp.
FUNCTION(endbr_then_frame, "endbr64\n push %rbp\n mov %rsp, %rbp\n lea (%rdi,%rsi), %rax\n pop %rbp\n ret")
// The same the other way round: kernels that add it at endbr64 would not at the push of %rbx.
FUNCTION(endbr_then_push, "endbr64\n push %rbx\n lea (%rdi,%rsi), %rax\n pop %rbx\n ret")
// Past two plain instructions and a load that cannot fault.
FUNCTION(several, "xor %eax, %eax\n mov entries_zero(%rip), %r10d\n lea (%rdi,%rsi), %rax\n jmp 1f\n 1: ret")
// Its first instruction is emulated.
FUNCTION(plain_push, "push %rbx\n lea (%rdi,%rsi), %rax\n pop %rbx\n ret")
// Stays: an argument changes.
FUNCTION(argument_changes, "xchg %rdi, %rsi\n push %rbx\n lea (%rdi,%rsi), %rax\n pop %rbx\n ret")
// Stays: memory changes.
FUNCTION(memory_changes, "movl $0, entries_zero(%rip)\n push %rbx\n lea (%rdi,%rsi), %rax\n pop %rbx\n ret")
// Stays: the stack moves.
FUNCTION(stack_moves, "sub $8, %rsp\n nop\n lea (%rdi,%rsi), %rax\n add $8, %rsp\n ret")
// Stays: the place is passed three times a call.
FUNCTION(loop_head, "mov $3, %r10d\n 1: nop\n dec %r10d\n jnz 1b\n lea (%rdi,%rsi), %rax\n ret")
// Stays: a part of the function that lies elsewhere jumps to the place.
FUNCTION(cold_part_returns, "mov $2, %r10d\n 1: nop\n dec %r10d\n jnz cold_part\n lea (%rdi,%rsi), %rax\n ret\n"
                            ".Lback = 1b\n .section .text.unlikely\n cold_part: jmp .Lback\n .text")
// Stays: a table could lead anywhere.
FUNCTION(by_table, "mov $2, %r10d\n 1: nop\n dec %r10d\n jz 2f\n lea 1b(%rip), %rax\n jmp *%rax\n 2: lea (%rdi,%rsi), %rax\n ret")
// Stays: another function begins at the place.
FUNCTION(falls_into, "xor %eax, %eax\n .globl fallen_into\n .type fallen_into, @function\n fallen_into: nop\n lea (%rdi,%rsi), %rax\n ret")
// Goes on the test's jump back to its entry: the entry too is passed once more.
FUNCTION(back_to_entry, "test %rdi, %rdi\n jns 1f\n 1: cmp $7, %rdi\n lea 7(%rsi), %rax\n jne back_to_entry\n ret")

int entries_zero;
long fallen_into(long a, long b);

int main(int argc, char **argv) {
  long (*const functions[])(long, long) = {test_then_jump, endbr_then_frame,  endbr_then_push, several,   plain_push,
                                           argument_changes, memory_changes,  stack_moves,     loop_head, cold_part_returns,
                                           by_table,       falls_into,        fallen_into,     back_to_entry};
  step("start");
  for (long n = argc > 1 ? atol(argv[1]) : 1; n > 0; n--)
    for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++)
      if (functions[i](7, 11) != 18)
        return (say("function %u is wrong\n", i), 1);
  step("done");
  return 0;
}
