/** What was typed of a code, without spaces, and with the digits 0 to 9 for those of Arabic and Persian keyboards. */
export function digitsIn (text: string): string {
  return text.replace(/\s/g, '').replace(/[\u0660-\u0669\u06f0-\u06f9]/g, digit => String(digit.charCodeAt(0) & 15))
}
