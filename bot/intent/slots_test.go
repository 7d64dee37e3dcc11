package intent_test

import (
	"testing"

	"guanjia/bot/intent"
)

// Values said in many ways; b, e, r, p, c are building, entrance, room, phone
// and case number.
func TestSlotWritings(t *testing.T) {
	t.Parallel()
	type s = intent.Slots
	c := classifier(t)
	for _, tc := range []struct {
		text string
		want s
	}{
		{"3-2-1201", s{Building: "3", Entrance: "2", Room: "1201"}},
		{"3栋1201", s{Building: "3", Room: "1201"}},
		{"3/2/1201", s{Building: "3", Entrance: "2", Room: "1201"}},
		{"3 2 1201", s{Building: "3", Entrance: "2", Room: "1201"}},
		{"３－２－１２０１", s{Building: "3", Entrance: "2", Room: "1201"}},
		{"3号楼2门1201", s{Building: "3", Entrance: "2", Room: "1201"}},
		{"三栋二单元一二零一", s{Building: "3", Entrance: "2", Room: "1201"}},
		{"十二栋一单元十二零一", s{Building: "12", Entrance: "1", Room: "1201"}},
		{"我家是二十一幢三单元二百零三室", s{Building: "21", Entrance: "3", Room: "203"}},
		{"a栋14b漏水", s{Building: "A", Room: "14B"}},
		{"B2栋2单元803室", s{Building: "B2", Entrance: "2", Room: "803"}},
		{"7#1单元902的门禁坏了", s{Building: "7", Entrance: "1", Room: "902"}},
		{"北区5号楼1单元1802", s{Building: "5", Entrance: "1", Room: "1802"}},
		{"三栋不对是五栋", s{Building: "5"}},
		{"我在6栋,不是,是8栋2单元", s{Building: "8", Entrance: "2"}},
		{"不是3-2-1201,是3-2-1301", s{Building: "3", Entrance: "2", Room: "1301"}},
		{"3-2-1201写错了,应该是3-1-1201", s{Building: "3", Entrance: "1", Room: "1201"}},
		{"楼上1301漏水,我是3-2-1201", s{Building: "3", Entrance: "2", Room: "1201"}},
		{"我家3-2-1201,楼上3-2-1301天天吵", s{Building: "3", Entrance: "2", Room: "1201"}},
		{"取件码3-2-4051", s{}},
		{"3号电梯坏了", s{}},
		{"2号梯异响", s{}},
		{"B2-117车位被占", s{}},
		{"1号门进不来", s{}},
		{"12楼的灯不亮", s{}},
		{"物业费1201元太贵", s{}},
		{"我住1201", s{Room: "1201"}},
		{"房间里有30平", s{}},
		{"下午3点到5点在家", s{}},
		{"2026-11-25上门", s{}},
		{"一栋楼都没电", s{}},
		{"哪一栋停电", s{}},
		{"三心二意", s{}},
		{"电话138 0000 0001", s{Phone: "13800000001"}},
		{"+86 13800000001", s{Phone: "13800000001"}},
		{"0086-138-0000-0001", s{Phone: "13800000001"}},
		{"幺三八零零零零零零零幺", s{Phone: "13800000001"}},
		{"0571-88886666", s{}},
		{"1380000001", s{}},
		{"138000000011", s{}},
		{"旧号13800000001停用,新号13900000002", s{Phone: "13900000002"}},
		{"电话13900000002,原来的13800000001不用了", s{Phone: "13900000002"}},
		{"绑定 3-2-1201 13800000001", s{Building: "3", Entrance: "2", Room: "1201", Phone: "13800000001"}},
		{"#20931088 怎么样了", s{CaseNo: "20931088"}},
		{"查询 #20931088", s{CaseNo: "20931088"}},
		{"工单号：20931088", s{CaseNo: "20931088"}},
		{"单号二零九三一零八八", s{CaseNo: "20931088"}},
		{"23110087 这个单子催下", s{CaseNo: "23110087"}},
		{"快递单号20931088", s{}},
		{"验证码385012", s{}},
		{"#123", s{}},
		{"工单不是123456是654321", s{CaseNo: "654321"}},
		{"5", s{Rating: 5}},
		{"五分", s{Rating: 5}},
		{"给3分吧", s{Rating: 3}},
		{"挺满意的 5", s{Rating: 5}},
		{"四星好评", s{Rating: 4}},
		{"10分", s{}},
		{"4.5分", s{}},
		{"5分钟到", s{}},
		{"0分", s{}},
		{"上次给了5分", s{}},
		{"3栋", s{Building: "3"}},
		{"B座", s{Building: "B"}},
		{"1201室", s{Room: "1201"}},
		{"6栋3单元", s{Building: "6", Entrance: "3"}},
		{"8栋1单元502,13900001111,给4分", s{Building: "8", Entrance: "1", Room: "502", Phone: "13900001111", Rating: 4}},
	} {
		if got := c.Classify(intent.Input{Text: tc.text}).Slots; got != tc.want {
			t.Errorf("%q\n   want %+v\n   got  %+v", tc.text, tc.want, got)
		}
	}
}
