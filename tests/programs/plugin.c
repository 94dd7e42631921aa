// A library for `host`: plugin_work calls back. With PADDED defined, the same functions are elsewhere in the file.
#ifdef PADDED
__attribute__((noinline)) int padding(int x) {
  for (int i = 0; i < x; i++) asm volatile("nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop");
  return x;
}
__attribute__((noinline)) void other_work(void (*call)(void)) {
  for (int i = 0; i < 4; i++) asm volatile("nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop");
  call();
  asm volatile("");
}
#endif

__attribute__((noinline)) void plugin_work(void (*call)(void)) {
  call();
  asm volatile("");
}
