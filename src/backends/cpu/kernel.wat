;; The work of training on every weight, four at a time: rounding to a grid, the gradient through it, one step of Adam, and
;; sums of squares. Each function works on a piece of up to 4096 values in the kernel's memory, which kernel.ts lays out:
;;
;;       0 values    16384 gradients    32768 first    49152 second moments    65536 units    (or 16384 weights, 32768 codes)
;;   81920 scales    98304 minimums    114688 sums of gradient * code    131072 sums of gradients, of groups
;;  147456 levels: the two clipping limits (a value is not clipped if it is at least the first and below the second); then, for each
;;         level but the lowest, the middle between it and the one below, and their distance
;;
;; `npx tsx scripts/wasm.ts` makes kernel-wasm.ts from it.
(module
  (memory (export "memory") 3)

  ;; Rounds values x to the grid of their group: code q, the level nearest to (x + min) / scale, or to zero if the scale is zero (or
  ;; so small that its inverse is infinite), and weight scale * q - min. Levels are the integers from lo to hi, or `steps` + 1 levels
  ;; of the table, starting at lo. `groups` groups of `vectors` times four values are contiguous. The kinds of levels have loops of
  ;; their own: a branch or a call for every four values takes 40 % longer.
  (func (export "round") (param $groups i32) (param $vectors i32) (param $lo f32) (param $hi f32) (param $steps i32)
    (local $at i32) (local $group i32) (local $left i32)
    (local $least v128) (local $most v128) (local $scale v128) (local $min v128) (local $inverse v128) (local $q v128)
    (local.set $least (f32x4.splat (local.get $lo)))
    (local.set $most (f32x4.splat (local.get $hi)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $groups)))
        (local.set $scale (v128.load32_splat offset=81920 (local.get $group)))
        (local.set $min (v128.load32_splat offset=98304 (local.get $group)))
        (local.set $inverse (f32x4.div (v128.const f32x4 1 1 1 1) (local.get $scale)))
        (local.set $inverse
          (v128.andnot
            (local.get $inverse)
            (f32x4.eq (f32x4.abs (local.get $inverse)) (v128.const f32x4 inf inf inf inf))))
        (local.set $left (local.get $vectors))
        (if (local.get $steps)
          (then
            (loop $four
              (local.set $q
                (call $nearest
                  (f32x4.mul (f32x4.add (v128.load (local.get $at)) (local.get $min)) (local.get $inverse))
                  (local.get $least)
                  (local.get $steps)))
              (v128.store offset=32768 (local.get $at) (local.get $q))
              (v128.store offset=16384 (local.get $at)
                (f32x4.sub (f32x4.mul (local.get $q) (local.get $scale)) (local.get $min)))
              (local.set $at (i32.add (local.get $at) (i32.const 16)))
              (br_if $four (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
          (else
            (loop $four
              (local.set $q
                (f32x4.floor
                  (f32x4.add
                    (f32x4.mul (f32x4.add (v128.load (local.get $at)) (local.get $min)) (local.get $inverse))
                    (v128.const f32x4 0.5 0.5 0.5 0.5))))
              (local.set $q (f32x4.pmin (f32x4.pmax (local.get $q) (local.get $least)) (local.get $most)))
              (v128.store offset=32768 (local.get $at) (local.get $q))
              (v128.store offset=16384 (local.get $at)
                (f32x4.sub (f32x4.mul (local.get $q) (local.get $scale)) (local.get $min)))
              (local.set $at (i32.add (local.get $at) (i32.const 16)))
              (br_if $four (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
        (local.set $group (i32.add (local.get $group) (i32.const 4)))
        (local.set $groups (i32.sub (local.get $groups) (i32.const 1)))
        (br $next))))

  ;; Replaces gradients of the weights by those of the values, which are zero for clipped codes. Also writes the sums of gradient *
  ;; code and of the gradients, for each group.
  (func (export "gradient")
    (param $groups i32) (param $vectors i32) (param $lo f32) (param $hi f32) (param $steps i32)
    (local $at i32) (local $group i32) (local $left i32)
    (local $least v128) (local $most v128) (local $min v128) (local $inverse v128)
    (local $rounded v128) (local $passes v128) (local $q v128) (local $g v128) (local $products v128) (local $sum v128)
    (local.set $least (f32x4.splat (local.get $lo)))
    (local.set $most (f32x4.splat (local.get $hi)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $groups)))
        (local.set $q (v128.load32_splat offset=81920 (local.get $group)))
        (local.set $min (v128.load32_splat offset=98304 (local.get $group)))
        (local.set $inverse (f32x4.div (v128.const f32x4 1 1 1 1) (local.get $q)))
        (local.set $inverse
          (v128.andnot
            (local.get $inverse)
            (f32x4.eq (f32x4.abs (local.get $inverse)) (v128.const f32x4 inf inf inf inf))))
        (local.set $products (v128.const f32x4 0 0 0 0))
        (local.set $sum (v128.const f32x4 0 0 0 0))
        (local.set $left (local.get $vectors))
        (if (local.get $steps)
          (then
            (loop $four
              (local.set $rounded
                (f32x4.mul (f32x4.add (v128.load (local.get $at)) (local.get $min)) (local.get $inverse)))
              (local.set $q (call $nearest (local.get $rounded) (local.get $least) (local.get $steps)))
              (local.set $passes
                (v128.and
                  (f32x4.ge (local.get $rounded) (v128.load32_splat (i32.const 147456)))
                  (f32x4.lt (local.get $rounded) (v128.load32_splat (i32.const 147460)))))
              (local.set $g (v128.load offset=16384 (local.get $at)))
              (local.set $products (f32x4.add (local.get $products) (f32x4.mul (local.get $g) (local.get $q))))
              (local.set $sum (f32x4.add (local.get $sum) (local.get $g)))
              (v128.store offset=16384 (local.get $at)
                (v128.and (local.get $g) (local.get $passes)))
              (local.set $at (i32.add (local.get $at) (i32.const 16)))
              (br_if $four (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
          (else
            (loop $four
              (local.set $rounded
                (f32x4.floor
                  (f32x4.add
                    (f32x4.mul (f32x4.add (v128.load (local.get $at)) (local.get $min)) (local.get $inverse))
                    (v128.const f32x4 0.5 0.5 0.5 0.5))))
              (local.set $q (f32x4.pmin (f32x4.pmax (local.get $rounded) (local.get $least)) (local.get $most)))
              (local.set $g (v128.load offset=16384 (local.get $at)))
              (local.set $products (f32x4.add (local.get $products) (f32x4.mul (local.get $g) (local.get $q))))
              (local.set $sum (f32x4.add (local.get $sum) (local.get $g)))
              (v128.store offset=16384 (local.get $at)
                (v128.and (local.get $g) (f32x4.eq (local.get $rounded) (local.get $q))))
              (local.set $at (i32.add (local.get $at) (i32.const 16)))
              (br_if $four (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
        (f32.store offset=114688 (local.get $group) (call $across (local.get $products)))
        (f32.store offset=131072 (local.get $group) (call $across (local.get $sum)))
        (local.set $group (i32.add (local.get $group) (i32.const 4)))
        (local.set $groups (i32.sub (local.get $groups) (i32.const 1)))
        (br $next))))

  ;; The nearest levels of the table to four values; `least` is the lowest level.
  (func $nearest (param $x v128) (param $least v128) (param $steps i32) (result v128)
    (local $at i32)
    (local.set $at (i32.const 147464))
    (loop $step
      (local.set $least
        (f32x4.add (local.get $least)
          (v128.and
            (f32x4.ge (local.get $x) (v128.load32_splat (local.get $at)))
            (v128.load32_splat offset=4 (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $step (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $least))

  ;; The sum of four lanes.
  (func $across (param $x v128) (result f32)
    (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $x)) (f32x4.extract_lane 1 (local.get $x)))
      (f32.add (f32x4.extract_lane 2 (local.get $x)) (f32x4.extract_lane 3 (local.get $x)))))

  ;; The sum of the squares of `vectors` times four gradients, at least one, in f64.
  (func (export "squares") (param $vectors i32) (result f64)
    (local $at i32) (local $x v128) (local $low v128) (local $high v128) (local $a v128) (local $b v128)
    (loop $four
      (local.set $x (v128.load offset=16384 (local.get $at)))
      (local.set $low (f64x2.promote_low_f32x4 (local.get $x)))
      (local.set $high
        (f64x2.promote_low_f32x4
          (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $x) (local.get $x))))
      (local.set $a (f64x2.add (local.get $a) (f64x2.mul (local.get $low) (local.get $low))))
      (local.set $b (f64x2.add (local.get $b) (f64x2.mul (local.get $high) (local.get $high))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $four (local.tee $vectors (i32.sub (local.get $vectors) (i32.const 1)))))
    (local.set $a (f64x2.add (local.get $a) (local.get $b)))
    (f64.add (f64x2.extract_lane 0 (local.get $a)) (f64x2.extract_lane 1 (local.get $a))))

  ;; One step of Adam; see adam.ts.
  ;; `units` natural units are contiguous, each for `vectors` times four values; with `own`, every value has its own.
  (func (export "adam")
    (param $units i32) (param $vectors i32) (param $own i32) (param $gradientScale f32) (param $rate f32)
    (local $at i32) (local $unit i32) (local $left i32)
    (local $scale v128) (local $move v128) (local $g v128) (local $m v128) (local $v v128)
    (local.set $unit (i32.const 65536))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $units)))
        (local.set $g
          (if (result v128) (local.get $own)
            (then (v128.load (local.get $unit)))
            (else (v128.load32_splat (local.get $unit)))))
        (local.set $unit
          (i32.add (local.get $unit) (select (i32.const 16) (i32.const 4) (local.get $own))))
        (local.set $scale (f32x4.mul (local.get $g) (f32x4.splat (local.get $gradientScale))))
        (local.set $move (f32x4.mul (local.get $g) (f32x4.splat (local.get $rate))))
        (local.set $left (local.get $vectors))
        (loop $four
          (local.set $g (f32x4.mul (v128.load offset=16384 (local.get $at)) (local.get $scale)))
          (local.set $m
            (f32x4.add
              (f32x4.mul (v128.load offset=32768 (local.get $at)) (v128.const f32x4 0.9 0.9 0.9 0.9))
              (f32x4.mul (local.get $g) (v128.const f32x4 0.1 0.1 0.1 0.1))))
          (local.set $v
            (f32x4.add
              (f32x4.mul (v128.load offset=49152 (local.get $at)) (v128.const f32x4 0.95 0.95 0.95 0.95))
              (f32x4.mul (f32x4.mul (local.get $g) (local.get $g)) (v128.const f32x4 0.05 0.05 0.05 0.05))))
          ;; Flushes tiny values to zero: denormal numbers are a hundred times slower.
          (local.set $m
            (v128.and (local.get $m)
              (f32x4.gt (f32x4.abs (local.get $m)) (v128.const f32x4 1e-30 1e-30 1e-30 1e-30))))
          (local.set $v
            (v128.and (local.get $v) (f32x4.gt (local.get $v) (v128.const f32x4 1e-30 1e-30 1e-30 1e-30))))
          (v128.store offset=32768 (local.get $at) (local.get $m))
          (v128.store offset=49152 (local.get $at) (local.get $v))
          (v128.store (local.get $at)
            (f32x4.sub
              (v128.load (local.get $at))
              (f32x4.div
                (f32x4.mul (local.get $move) (local.get $m))
                (f32x4.add
                  (f32x4.sqrt (local.get $v))
                  (v128.const f32x4 1e-15 1e-15 1e-15 1e-15)))))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (br_if $four (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (local.set $units (i32.sub (local.get $units) (i32.const 1)))
        (br $next)))))
