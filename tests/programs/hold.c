// hold MB SECONDS: touches MB of anonymous memory and keeps it.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  long bytes = atol(argv[1]) << 20;
  char *b = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (b == MAP_FAILED) return perror("mmap"), 1;
  for (long i = 0; i < bytes; i += 4096) b[i] = 1;
  printf("holding %s MB\n", argv[1]);
  fflush(stdout);
  sleep(atoi(argv[2]));
}
