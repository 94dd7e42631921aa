// eat MB [PASSES]: touches MB of anonymous memory, a page at a time, PASSES times.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(int argc, char **argv) {
  long bytes = (argc > 1 ? atol(argv[1]) : 1024) << 20, passes = argc > 2 ? atol(argv[2]) : 1;
  // MAP_NORESERVE: else the kernel refuses at once to map more than there is
  char *b = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (b == MAP_FAILED) return perror("mmap"), 1;
  volatile char sum = 0;
  for (long pass = 0; pass < passes; pass++)
    for (long i = 0; i < bytes; i += 4096) {
      if (pass == 0) memset(b + i, (i >> 12) * 31 + 1, 64); // differs from page to page, so that nothing is merged
      else sum += b[i];
    }
  printf("ate %ld MB, %ld passes\n", bytes >> 20, passes);
}
