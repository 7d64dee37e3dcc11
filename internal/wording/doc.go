// Package wording owns what we say. Every word that leaves the house is a Text,
// and only this package makes one: rendered from the files of package templates,
// or typed by staff and passed by the guard against dismissive answers.
//
// Loading checks all files and refuses them with file, line, key and remedy, so
// that a bad text stops the start and not a conversation. The package must not
// decide what to say, to whom or when; it reads no clock, no database and sends
// nothing. It sits on floor 2.
package wording
