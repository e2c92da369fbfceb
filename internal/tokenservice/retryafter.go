package tokenservice

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxRetryAfter = 10 * time.Minute // no service can ask for more
	defaultPause  = time.Second      // after a 429 that does not say for how long
)

// pause returns how long the service wants no requests (RFC 6585, section 4; RFC 9110,
// section 15.6.4); 0 if it does not say so.
func (r *response) pause() time.Duration {
	asked := r.retryAfter()
	switch {
	case r.status == http.StatusTooManyRequests && asked == 0:
		return defaultPause
	case r.status == http.StatusTooManyRequests, r.status == http.StatusServiceUnavailable:
		return asked
	default:
		return 0
	}
}

// retryAfter returns what the response's Retry-After asks for.
func (r *response) retryAfter() time.Duration {
	now, err := http.ParseTime(r.header.Get("Date")) // by the clock of the server, which set the date
	if err != nil {
		now = time.Now()
	}
	return parseRetryAfter(r.header.Get("Retry-After"), now)
}

// parseRetryAfter understands seconds and a date (RFC 9110, section 10.2.3). Anything
// else, and a date that has passed, is 0. The most is maxRetryAfter.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		sec, err := strconv.ParseInt(value, 10, 64)
		if err != nil { // more digits than an int64 has
			sec = math.MaxInt64
		}
		return time.Duration(min(sec, int64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}
