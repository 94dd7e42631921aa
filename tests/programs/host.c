// host LIBRARY N: loads it and has its plugin_work call back N times, before `done` and once more before `again`.
#define _GNU_SOURCE
#include "step.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>

__attribute__((noinline)) void called_back(void) {
  syscall(SYS_getppid);
  asm volatile("");
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library) return 3;
  void (*work)(void (*)(void)) = (void (*)(void (*)(void)))dlsym(library, "plugin_work");
  if (!work) return 4;
  volatile int n = atoi(argv[2]);
  step("start");
  for (int i = 0; i < n; i++) work(called_back);
  step("done");
  for (int i = 0; i < n; i++) work(called_back);
  step("again");
}
