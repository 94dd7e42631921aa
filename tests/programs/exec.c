// exec PROGRAM ARGS: holds 6 blocks of 123 bytes (before_exec), then becomes PROGRAM: none of them is held any more.
#include "step.h"
#include <stdlib.h>

__attribute__((noinline)) void before_exec(void) {
  sink = malloc(123);
  asm volatile("");
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  for (int i = 0; i < 6; i++) before_exec();
  execv(argv[1], argv + 1);
  return 4;
}
