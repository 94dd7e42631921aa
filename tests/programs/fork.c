// fork: the parent holds 4 blocks of 250 bytes (parent_block). Its child, which memql was not asked about, frees its copies
// of them and leaks 3 blocks of 999 bytes (child_block).
#include "step.h"
#include <stdlib.h>
#include <sys/wait.h>

static void *volatile blocks[4];
__attribute__((noinline)) void parent_block(int i) {
  blocks[i] = malloc(250);
  asm volatile("");
}
__attribute__((noinline)) void child_block(void) {
  sink = malloc(999);
  asm volatile("");
}

int main(void) {
  volatile int n = 4; // keeps the loop a loop, so that all blocks have one stack
  step("start");
  for (int i = 0; i < n; i++) parent_block(i);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 4; i++) free(blocks[i]);
    for (int i = 0; i < 3; i++) child_block();
    _exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child || status != 0) return 4;
  step("done");
}
