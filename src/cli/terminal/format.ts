/** Numbers and tables for people; reports use them too. */
export { humanBytes, humanCount, plain, plusMinus, table, visible } from '../../format.js'
