package agwtest

import (
	"fmt"
	"strings"
)

// filter is a parsed $filter of the fragments endpoint: fragments whose label
// has one of the values.
type filter struct {
	label  string
	values []string
}

// parseFilter parses
//
//	Label['name'] HAS ('value', …)
//
// with white space between any two symbols, keywords in any case and quotes
// within strings doubled, as OData writes them.
func parseFilter(text string) (filter, error) {
	p := &filterParser{rest: text}
	p.keyword("Label")
	p.symbol("[")
	f := filter{label: p.quoted()}
	p.symbol("]")
	p.keyword("HAS")
	p.symbol("(")
	f.values = append(f.values, p.quoted())
	for p.err == nil && p.peek(",") {
		p.symbol(",")
		f.values = append(f.values, p.quoted())
	}
	p.symbol(")")
	p.end()
	if p.err != nil {
		return filter{}, p.err
	}
	return f, nil
}

// filterParser consumes a filter from the left. After the first error its
// methods do nothing.
type filterParser struct {
	rest string
	err  error
}

func (p *filterParser) peek(symbol string) bool {
	p.rest = strings.TrimLeft(p.rest, " \t")
	return strings.HasPrefix(p.rest, symbol)
}

func (p *filterParser) fail(expected string) {
	if p.err == nil {
		p.err = fmt.Errorf("$filter: expected %s before %q", expected, p.rest)
	}
}

func (p *filterParser) symbol(symbol string) {
	if p.err != nil {
		return
	}
	if !p.peek(symbol) {
		p.fail(symbol)
		return
	}
	p.rest = p.rest[len(symbol):]
}

func (p *filterParser) keyword(word string) {
	if p.err != nil {
		return
	}
	p.peek("")
	if len(p.rest) < len(word) || !strings.EqualFold(p.rest[:len(word)], word) {
		p.fail(word)
		return
	}
	p.rest = p.rest[len(word):]
}

// quoted consumes a string that is not empty.
func (p *filterParser) quoted() string {
	p.symbol("'")
	if p.err != nil {
		return ""
	}
	var value strings.Builder
	for {
		part, rest, found := strings.Cut(p.rest, "'")
		if !found {
			p.fail("a closing quote")
			return ""
		}
		value.WriteString(part)
		p.rest = rest
		if !strings.HasPrefix(rest, "'") {
			break
		}
		value.WriteByte('\'')
		p.rest = rest[1:]
	}
	if value.Len() == 0 {
		p.fail("a value")
	}
	return value.String()
}

func (p *filterParser) end() {
	if p.peek(""); p.rest != "" {
		p.fail("the end")
	}
}
