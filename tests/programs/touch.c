// touch PAGES: touches so many pages for the first time, and says how many page faults the kernel counted meanwhile.
#include "step.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

__attribute__((noinline)) static void call(void) { asm volatile(""); }

// That it calls something gives it a frame, without which its caller would be missing in the stack.
__attribute__((noinline)) void touch_pages(volatile char *pages, long count, long size) {
  for (long i = 0; i < count; i++) {
    pages[i * size] = 1;
    call();
  }
}

static long faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  long count = atol(argv[1]), size = sysconf(_SC_PAGESIZE);
  char *pages = mmap(0, count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return 1;
  madvise(pages, count * size, MADV_NOHUGEPAGE);
  step("start");
  long before = faults();
  touch_pages(pages, count, size);
  say("faults %ld\n", faults() - before);
  step("done");
}
