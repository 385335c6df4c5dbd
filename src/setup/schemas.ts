import Type from 'typebox'
import { closed } from '../http/schemas.js'
import { RegisterBody } from '../sessions/schemas.js'

export const SetupBody = Type.Object({
  token: Type.String({ minLength: 1, maxLength: 256, examples: ['lksu_…'], description: 'Out of the link; it works once' }),
  ...RegisterBody.properties
}, {
  ...closed,
  title: 'Setup',
  examples: [{ token: 'lksu_…', email: 'ada@example.com', password: 'correct horse battery staple', name: 'Ada' }]
})
