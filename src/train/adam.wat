;; One step of Adam on up to 4096 values in four lanes; adam.ts says what it computes and lays out the memory.
;; `npx tsx scripts/wasm.ts` makes adam-wasm.ts of it.
(module
  (memory (export "memory") 2)
  ;; `units` natural units follow one another, each for `vectors` times four values; with `own` every value has its own.
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
          ;; What is as good as zero becomes zero: denormal numbers are a hundred times slower.
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
