package agw

import (
	"errors"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
)

// loaders look for the credentials of each flow, in this order.
var loaders = []func() (flows.Credentials, error){
	func() (flows.Credentials, error) { return customer.Load() },
	func() (flows.Credentials, error) { return lob.Load() },
}

// detect returns the first credentials that are there. Credentials that are there but
// broken are an error: they do not make way for the next flow's.
func detect() (flows.Credentials, error) {
	var nowhere flows.NotFoundError
	for _, load := range loaders {
		creds, err := load()
		var notFound *flows.NotFoundError
		if !errors.As(err, &notFound) {
			return creds, err
		}
		nowhere.Places = append(nowhere.Places, notFound.Places...)
	}
	return nil, &nowhere
}
