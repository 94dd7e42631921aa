p: raw_tp, 9 instructions, stack 0
; begin {
   0: r0 = *(u64 *)(r1 +0)
   1: r5 = *(u64 *)(r1 +8)
   2: if r0 s>= r5 goto 4
   3: if r5 & 4 goto 7
   4: if r5 < r0 goto 6
   5: r0 = 0
   6: exit
   7: r0 = 0
   8: exit
