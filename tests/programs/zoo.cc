// zoo: C++ allocations from functions with mangled names. Held at the end: zoo::Keeper<int>::keep(unsigned long) 5 blocks
// of 48 bytes, zoo::hatch(zoo::Animal const&, unsigned long) one of 333 bytes; a deleted object and array hold nothing. The
// first frame of each stack is the operator new of zoo::Animal: that of libstdc++ has no frame pointer, and would hide
// who called it.
#include "step.h"
#include <cstdlib>

namespace zoo {
struct Animal {
  char body[48];
  __attribute__((noinline)) static void *operator new(std::size_t size) {
    sink = malloc(size);
    asm volatile("");
    return sink;
  }
  __attribute__((noinline)) static void operator delete(void *p) { free(p); }
};
template <class T> struct Keeper {
  __attribute__((noinline)) void keep(unsigned long times) {
    for (unsigned long i = 0; i < times; i++) sink = new Animal;
    asm volatile("");
  }
  __attribute__((noinline)) void release() {
    Animal *one = new Animal, *many = new Animal[10];
    sink = one;
    delete one;
    sink = many;
    delete[] many;
    asm volatile("");
  }
};
__attribute__((noinline)) void hatch(const Animal &, unsigned long n) {
  sink = malloc(n);
  asm volatile("");
}
} // namespace zoo

int main() {
  zoo::Keeper<int> keeper;
  zoo::Animal animal;
  step("start");
  keeper.keep(5);
  keeper.release();
  zoo::hatch(animal, 333);
  step("done");
}
