package wire

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxRetryAfter is the longest time that a service can ask to be left alone.
	MaxRetryAfter = 10 * time.Minute

	defaultPause = time.Second // after a 429 that does not say for how long
)

// pause returns for how long the service wants to be left alone (RFC 6585,
// section 4; RFC 9110, section 15.6.4); 0 if it does not.
func (a answer) pause() time.Duration {
	asked := a.retryAfter()
	switch {
	case a.status == http.StatusTooManyRequests && asked == 0:
		return defaultPause
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable:
		return asked
	default:
		return 0
	}
}

// retryAfter returns what the answer's Retry-After asks for.
func (a answer) retryAfter() time.Duration {
	now, err := http.ParseTime(a.header.Get("Date")) // the server's clock, which set the date
	if err != nil {
		now = time.Now()
	}
	return parseRetryAfter(a.header.Get("Retry-After"), now)
}

// parseRetryAfter understands seconds and a date (RFC 9110, section 10.2.3). What
// it does not understand, and what has passed, is 0; the most is MaxRetryAfter.
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
		return time.Duration(min(sec, int64(MaxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), MaxRetryAfter))
}
