/**
 * Chat templates (Jinja) with limits that do not depend on the speed of the machine: interpreter steps, text lengths and list
 * lengths. Templates do not see the clock either, so measurements do not depend on the date.
 */
import { Environment, Interpreter, Template } from '@huggingface/jinja'
import { QuenchError } from '../errors.js'
import { humanCount } from '../format.js'
import { reasonOf } from '../sandbox.js'

/**
 * Limit per text, in evaluated statements and expressions of 1 to 2 microseconds; 3,000 messages take 100,000 to 3,000,000.
 */
const mostSteps = 5_000_000
/** Cost of the scope of one iteration, in steps. */
const stepsOfIteration = 25
const mostCharacters = 8_000_000
/** The limit of Jinja's own sandbox. */
const mostRange = 100_000
const mostItems = 1_000_000

/** The date that every template sees, 26 Jul 2024, as `date_string` and by Python's format codes. */
const dateString = '26 Jul 2024'
const dateCodes: Readonly<Record<string, string>> = {
  Y: '2024',
  y: '24',
  m: '07',
  B: 'July',
  b: 'Jul',
  d: '26',
  e: '26',
  j: '208',
  A: 'Friday',
  a: 'Fri',
  F: '2024-07-26',
  D: '07/26/24',
  H: '00',
  I: '12',
  M: '00',
  S: '00',
  p: 'AM',
  T: '00:00:00',
  Z: 'UTC',
  z: '+0000',
  '%': '%',
}

/**
 * The part of the package's classes used here; their own declarations do not resolve (they import files without extensions).
 */
interface TemplateInterpreter {
  run(program: unknown): { readonly value: unknown }
  evaluate(statement: unknown, environment: unknown): { readonly value: unknown }
}
const BaseInterpreter = Interpreter as unknown as new (environment: unknown) => TemplateInterpreter

/** A loop, or a filtered loop with its items in `lhs`. */
interface Loop {
  readonly type: string
  readonly iterable?: unknown
  readonly lhs?: unknown
}

class BoundedInterpreter extends BaseInterpreter {
  private steps = 0
  private readonly iterables = new WeakSet<object>()

  override evaluate(statement: unknown, environment: unknown): { readonly value: unknown } {
    const { type, iterable } = (statement ?? {}) as Loop
    if (type === 'For') {
      const { lhs } = iterable as Loop
      this.iterables.add((lhs ?? iterable) as object)
    }
    this.step(1)
    const result = super.evaluate(statement, environment)
    const { value } = result
    if (typeof value === 'string' && value.length > mostCharacters)
      throw new QuenchError(`it makes a text of more than ${humanCount(mostCharacters)} characters`)
    if (Array.isArray(value)) {
      if (value.length > mostItems)
        throw new QuenchError(`it makes a list of more than ${humanCount(mostItems)} items`)
      if (this.iterables.has(statement as object)) this.step(stepsOfIteration * value.length)
    }
    return result
  }

  private step(steps: number): void {
    this.steps += steps
    if (this.steps > mostSteps) throw new QuenchError(`it takes more than ${humanCount(mostSteps)} steps`)
  }
}

export class BoundedTemplate {
  private readonly program: unknown

  /** @throws QuenchError for a source that is not a template */
  constructor(source: string) {
    this.program = sentence(() => new Template(source)).parsed
  }

  /** @throws QuenchError with the template's reason */
  render(variables: Readonly<Record<string, unknown>>): string {
    return sentence(() => {
      const environment = new Environment()
      for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value)
      return new BoundedInterpreter(environment).run(this.program).value as string
    })
  }
}

/** The variables that Jinja's interpreter defines for every template, and the date. */
const globals = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  date_string: dateString,
  raise_exception: (message: unknown) => {
    throw new QuenchError(reasonOf(message))
  },
  range: (start: number, stop?: number, step = 1) => {
    const [first, end] = stop === undefined ? [0, start] : [start, stop]
    const length = Math.max(0, Math.ceil((end - first) / step))
    if (!(length <= mostRange))
      throw new QuenchError(`it makes a range of more than ${humanCount(mostRange)} numbers`)
    return Array.from({ length }, (_, i) => first + i * step)
  },
  strftime_now: (format: string) =>
    format.replace(/%-?([A-Za-z%])/g, (code, letter) => {
      const text = dateCodes[letter] ?? code
      return code[1] === '-' ? text.replace(/^0+(?=.)/, '') : text
    }),
}

function sentence<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw error instanceof QuenchError ? error : new QuenchError(reasonOf(error))
  }
}
