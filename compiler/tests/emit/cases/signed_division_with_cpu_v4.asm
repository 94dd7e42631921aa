p: raw_tp, 17 instructions, stack 0
; begin {
   0: r0 = *(u64 *)(r1 +0)
   1: r5 = *(u64 *)(r1 +8)
   2: r4 = r0
   3: r4 s>>= 63
   4: r0 ^= r4
   5: r0 -= r4
   6: r3 = r5
   7: r3 s>>= 63
   8: r5 ^= r3
   9: r5 -= r3
  10: r0 /= r5
  11: r4 ^= r3
  12: r0 ^= r4
  13: r0 -= r4
  14: r0 s%= 10
  15: r0 = -r0
  16: exit
