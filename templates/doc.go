// Package templates holds what people read, as files: the bot's texts, the SMS
// and template-message catalogues, and the word lists that name things and guard
// our language. It is data only; internal/wording gives it meaning and checks it.
package templates
