p: raw_tp, 11 instructions, stack 0
; begin {
   0: r0 = *(u64 *)(r1 +0)
   1: r5 = *(u64 *)(r1 +8)
   2: r4 = 5
   3: r4 -= 1
   4: if r4 != 0 goto 7
   5: r0 -= r5
   6: exit
   7: r1 = r5
   8: r5 = r0
   9: r0 = r1
  10: goto 3
