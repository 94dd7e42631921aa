p: raw_tp, 11 instructions, stack 8
; begin {
   0: *(u64 *)(r10 -8) = 7
   1: r1 = r10
   2: r1 += -8
   3: call fn1
   4: r6 = r0
   5: r1 = r10
   6: r1 += -8
   7: call fn1
   8: r6 += r0
   9: r0 = r6
  10: exit
p_fn1: .text, 5 instructions, stack 0
; begin {
   0: if r1 == 0 goto 3
   1: r0 = *(u64 *)(r1 +0)
   2: exit
   3: r0 = 0
   4: exit
