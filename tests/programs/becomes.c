// becomes PROGRAM ARGS: makes 5 getppid calls, then becomes PROGRAM.
#define _GNU_SOURCE
#include "step.h"
#include <sys/syscall.h>

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  step("start");
  for (int i = 0; i < 5; i++) syscall(SYS_getppid);
  execv(argv[1], argv + 1);
  return 4;
}
