package desk_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/app/sample"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/staff"
)

func inbound(openID, text string) conversation.Inbound {
	return conversation.Inbound{OpenID: openID, Text: text}
}

func queueMember(queueID, userID string, capacity int) staff.QueueMember {
	return staff.QueueMember{CompanyID: sample.CompanyID, QueueID: queueID, UserID: userID, Capacity: capacity}
}

func dbSQLite(t testing.TB) *db.DB { return dbtest.SQLite(t) }

// deadRedis answers nothing: nobody listens there.
func deadRedis(t testing.TB) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialTimeout: 200 * time.Millisecond, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() }) // nothing was ever open
	return rdb
}
