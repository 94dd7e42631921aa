// zoo: C++ allocations from functions with mangled names. Held at the end: zoo::Keeper<int>::keep(unsigned long) 5 blocks
// of 48 bytes, zoo::operator""_bytes(unsigned long long) one of 333 bytes; a deleted object and array hold nothing.
#include "step.h"

namespace zoo {
struct Animal {
  char body[48];
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
__attribute__((noinline)) void operator""_bytes(unsigned long long n) {
  sink = new char[n];
  asm volatile("");
}
} // namespace zoo

int main() {
  using zoo::operator""_bytes;
  zoo::Keeper<int> keeper;
  step("start");
  keeper.keep(5);
  keeper.release();
  333_bytes;
  step("done");
}
