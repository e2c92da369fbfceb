package wire

// Clean returns what a service said inside an answer with status 200, fit to be
// shown in an error as [Client.Do] shows the rest: on one line, at most 200 bytes,
// without secrets.
func Clean(text string, secrets ...string) string {
	return newRedactor(secrets).clean(text)
}

// Shows reports whether text shows a part of a secret, or anything like a JWT.
func Shows(text string, secrets ...string) bool { return newRedactor(secrets).conceal(text) != text }
