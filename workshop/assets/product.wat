;; The product of two matrices of float32 numbers: c = c + a·b, with four numbers in one instruction.
;;
;; a is (n, k) and c is (n, m), row by row. b is (k, m) in panels of 8 columns: panel after panel, each
;; (k, 8) row by row, so that the innermost loop reads memory in its order. n is a multiple of 4, m of
;; 8. All three parameters are addresses in bytes. One turn of the outer loops computes 4 rows and 8
;; columns of c in eight registers.
(module
  (memory (export "memory") 1)
  (func (export "product")
    (param $a i32) (param $b i32) (param $c i32) (param $n i32) (param $k i32) (param $m i32)
    (local $rowOfA i32) (local $rowOfC i32) (local $panel i32) (local $endOfA i32) (local $endOfC i32)
    (local $endOfRow i32) (local $a0 i32) (local $a1 i32) (local $a2 i32) (local $a3 i32)
    (local $c0 i32) (local $c1 i32) (local $c2 i32) (local $c3 i32)
    (local $left v128) (local $right v128) (local $number v128)
    (local $left0 v128) (local $right0 v128) (local $left1 v128) (local $right1 v128)
    (local $left2 v128) (local $right2 v128) (local $left3 v128) (local $right3 v128)

    (local.set $rowOfA (i32.shl (local.get $k) (i32.const 2)))  ;; the size of a row in bytes
    (local.set $rowOfC (i32.shl (local.get $m) (i32.const 2)))
    (local.set $endOfC (i32.add (local.get $c) (i32.mul (local.get $n) (local.get $rowOfC))))
    (local.set $endOfRow (i32.add (local.get $c) (local.get $rowOfC)))

    (loop $columns  ;; c moves along the first row, by 8 columns
      (local.set $a0 (local.get $a))
      (local.set $c0 (local.get $c))
      (loop $rows
        (local.set $a1 (i32.add (local.get $a0) (local.get $rowOfA)))
        (local.set $a2 (i32.add (local.get $a1) (local.get $rowOfA)))
        (local.set $a3 (i32.add (local.get $a2) (local.get $rowOfA)))
        (local.set $c1 (i32.add (local.get $c0) (local.get $rowOfC)))
        (local.set $c2 (i32.add (local.get $c1) (local.get $rowOfC)))
        (local.set $c3 (i32.add (local.get $c2) (local.get $rowOfC)))
        (local.set $left0 (v128.load (local.get $c0)))
        (local.set $right0 (v128.load offset=16 (local.get $c0)))
        (local.set $left1 (v128.load (local.get $c1)))
        (local.set $right1 (v128.load offset=16 (local.get $c1)))
        (local.set $left2 (v128.load (local.get $c2)))
        (local.set $right2 (v128.load offset=16 (local.get $c2)))
        (local.set $left3 (v128.load (local.get $c3)))
        (local.set $right3 (v128.load offset=16 (local.get $c3)))

        (local.set $panel (local.get $b))
        (local.set $endOfA (local.get $a1))
        (loop $sum  ;; one number of each row of a, times 8 numbers of b
          (local.set $left (v128.load (local.get $panel)))
          (local.set $right (v128.load offset=16 (local.get $panel)))
          (local.set $number (v128.load32_splat (local.get $a0)))
          (local.set $left0 (f32x4.add (local.get $left0) (f32x4.mul (local.get $number) (local.get $left))))
          (local.set $right0 (f32x4.add (local.get $right0) (f32x4.mul (local.get $number) (local.get $right))))
          (local.set $number (v128.load32_splat (local.get $a1)))
          (local.set $left1 (f32x4.add (local.get $left1) (f32x4.mul (local.get $number) (local.get $left))))
          (local.set $right1 (f32x4.add (local.get $right1) (f32x4.mul (local.get $number) (local.get $right))))
          (local.set $number (v128.load32_splat (local.get $a2)))
          (local.set $left2 (f32x4.add (local.get $left2) (f32x4.mul (local.get $number) (local.get $left))))
          (local.set $right2 (f32x4.add (local.get $right2) (f32x4.mul (local.get $number) (local.get $right))))
          (local.set $number (v128.load32_splat (local.get $a3)))
          (local.set $left3 (f32x4.add (local.get $left3) (f32x4.mul (local.get $number) (local.get $left))))
          (local.set $right3 (f32x4.add (local.get $right3) (f32x4.mul (local.get $number) (local.get $right))))
          (local.set $panel (i32.add (local.get $panel) (i32.const 32)))
          (local.set $a0 (i32.add (local.get $a0) (i32.const 4)))
          (local.set $a1 (i32.add (local.get $a1) (i32.const 4)))
          (local.set $a2 (i32.add (local.get $a2) (i32.const 4)))
          (local.set $a3 (i32.add (local.get $a3) (i32.const 4)))
          (br_if $sum (i32.lt_u (local.get $a0) (local.get $endOfA))))

        (v128.store (local.get $c0) (local.get $left0))
        (v128.store offset=16 (local.get $c0) (local.get $right0))
        (v128.store (local.get $c1) (local.get $left1))
        (v128.store offset=16 (local.get $c1) (local.get $right1))
        (v128.store (local.get $c2) (local.get $left2))
        (v128.store offset=16 (local.get $c2) (local.get $right2))
        (v128.store (local.get $c3) (local.get $left3))
        (v128.store offset=16 (local.get $c3) (local.get $right3))
        (local.set $a0 (local.get $a3))  ;; now the end of the fourth row
        (local.set $c0 (i32.add (local.get $c3) (local.get $rowOfC)))
        (br_if $rows (i32.lt_u (local.get $c0) (local.get $endOfC))))
      (local.set $b (local.get $panel))  ;; now the start of the next panel
      (local.set $c (i32.add (local.get $c) (i32.const 32)))
      (local.set $endOfC (i32.add (local.get $endOfC) (i32.const 32)))
      (br_if $columns (i32.lt_u (local.get $c) (local.get $endOfRow))))))
