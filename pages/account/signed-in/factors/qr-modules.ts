import { encode } from 'uqr'

/** The modules of the QR code of `text`, row by row, with the quiet zone of four around it (ISO/IEC 18004); true is dark. */
export const modulesOf = (text: string): boolean[][] => encode(text, { ecc: 'M', border: 4 }).data
