// flat FILE OFFSET N: maps a file that is no program and calls, N times, the code at an offset of it.
#include "step.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int file = open(argv[1], O_RDONLY);
  struct stat known;
  if (file < 0 || fstat(file, &known) != 0) return 3;
  char *code = mmap(0, known.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
  if (code == MAP_FAILED) return 4;
  void (*call)(void) = (void (*)(void))(code + atol(argv[2]));
  step("start");
  for (long i = 0; i < atol(argv[3]); i++) call();
  step("done");
  return 0;
}
