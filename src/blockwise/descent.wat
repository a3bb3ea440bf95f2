;; The work of rounding and of coordinate descent on every column of a panel, two or four columns at a time, in the order of plain f64
;; loops, so that results are the same (panels.ts, coordinates.ts). Memory:
;;
;;        0 H of the panel, (width, width), f32    262144 slopes, f64    264192 directions, f64    of up to 256 columns each
;;        (or 0 U of the panel, (width, width), f32, and 262144 the weights of a row yet to be rounded, f32)
;;
;; `npx tsx scripts/wasm.ts` makes descent-wasm.ts from it.
(module
  (memory (export "memory") 5)

  ;; slope[k] += by * H[row, k] for the `width` columns, a multiple of four.
  (func $move (export "move") (param $row i32) (param $width i32) (param $by f64)
    (local $at i32) (local $end i32) (local $slope i32) (local $four v128) (local $factor v128)
    (local.set $factor (f64x2.splat (local.get $by)))
    (local.set $at (i32.shl (i32.mul (local.get $row) (local.get $width)) (i32.const 2)))
    (local.set $end (i32.add (local.get $at) (i32.shl (local.get $width) (i32.const 2))))
    (loop $next
      (local.set $four (v128.load (local.get $at)))
      (v128.store offset=262144 (local.get $slope)
        (f64x2.add
          (v128.load offset=262144 (local.get $slope))
          (f64x2.mul (local.get $factor) (f64x2.promote_low_f32x4 (local.get $four)))))
      (v128.store offset=262160 (local.get $slope)
        (f64x2.add
          (v128.load offset=262160 (local.get $slope))
          (f64x2.mul (local.get $factor)
            (f64x2.promote_low_f32x4
              (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $four) (local.get $four))))))
      (local.set $slope (i32.add (local.get $slope) (i32.const 32)))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end)))))

  ;; left[j] -= error * U[row, j] for the columns after `row`, in f64 and rounded to f32. Columns from the last multiple of four up to
  ;; row + 1 are included: U is zero below its diagonal, and the values of columns already rounded do not matter.
  (func (export "propagate") (param $row i32) (param $width i32) (param $error f64)
    (local $at i32) (local $end i32) (local $left i32) (local $four v128) (local $from v128) (local $factor v128)
    (local.set $factor (f64x2.splat (local.get $error)))
    (local.set $left (i32.shl (i32.and (i32.add (local.get $row) (i32.const 1)) (i32.const -4)) (i32.const 2)))
    (local.set $at
      (i32.add
        (i32.shl (i32.mul (local.get $row) (local.get $width)) (i32.const 2))
        (local.get $left)))
    (local.set $end (i32.shl (local.get $width) (i32.const 2)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $left) (local.get $end)))
        (local.set $four (v128.load (local.get $at)))
        (local.set $from (v128.load offset=262144 (local.get $left)))
        (v128.store offset=262144 (local.get $left)
          (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
            (f32x4.demote_f64x2_zero
              (f64x2.sub
                (f64x2.promote_low_f32x4 (local.get $from))
                (f64x2.mul (local.get $factor) (f64x2.promote_low_f32x4 (local.get $four)))))
            (f32x4.demote_f64x2_zero
              (f64x2.sub
                (f64x2.promote_low_f32x4
                  (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $from) (local.get $from)))
                (f64x2.mul (local.get $factor)
                  (f64x2.promote_low_f32x4
                    (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15
                      (local.get $four) (local.get $four))))))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (local.set $left (i32.add (local.get $left) (i32.const 16)))
        (br $next))))

  ;; `move` for all rows from `from` to `to`, exclusive, each by `by` times its direction; rows with direction 0 are skipped.
  (func (export "moveAlong") (param $from i32) (param $to i32) (param $width i32) (param $by f64)
    (local $direction f64)
    (loop $next
      (local.set $direction (f64.load offset=264192 (i32.shl (local.get $from) (i32.const 3))))
      (if (f64.ne (local.get $direction) (f64.const 0))
        (then
          (call $move (local.get $from) (local.get $width) (f64.mul (local.get $by) (local.get $direction)))))
      (br_if $next (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 1))) (local.get $to))))))
