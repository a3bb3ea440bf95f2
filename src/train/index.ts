/** Training: planning a run, and running it. */
export type { Method } from '../config/methods.js'
export type { MeasuredBlock, StageReport, TrainEvent, TrainOptions } from '../config/options.js'
export type { Item, Plan } from '../config/plan.js'
export { TeacherCache } from '../engine/teacher-cache.js'
export type { TrainReport } from './report.js'
export { planTraining, train } from './train.js'
