p: raw_tp, 7 instructions, stack 0
; begin {
   0: r0 = .bss+0 ll
   2: r5 = 1
   3: lock *(u64 *)(r0 +0) += r5
   4: lock *(u64 *)(r0 +8) += r5
   5: lock *(u64 *)(r0 +56) += r5
   6: r0 = *(u64 *)(r0 +0)
   7: exit
