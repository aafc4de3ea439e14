/* Decodes and encodes the events that nearly all events are like, for native.py. It decides nothing: of whatever is unusual,
 * or malformed, it returns None, or stops before it, and the same work is done in Python (frames.py, decoding.py, encoding.py),
 * which says what is right.
 *
 * All input is hostile: nothing is read before it is known to lie before the end of the message, or of the frame.
 * Source: AMQP 1.0, parts 1.6, 2.3, 2.7.5 and 3.2.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { MESSAGE_ANNOTATIONS = 0x72, PROPERTIES, APPLICATION_PROPERTIES, DATA };
enum { NUL = 0x40, TRUE_ = 0x41, FALSE_ = 0x42, BOOLEAN = 0x56 };
enum { BINARY = 0xA0, TEXT = 0xA1, SYMBOL = 0xA3, LONG_BINARY = 0xB0, LONG_TEXT = 0xB1, LONG_SYMBOL = 0xB3 };
enum { SMALL_INT = 0x54, INT = 0x71, SMALL_LONG = 0x55, LONG = 0x81, DOUBLE = 0x82, TIMESTAMP = 0x83 };
enum { LIST = 0xC0, MAP = 0xC1, LONG_LIST = 0xD0, LONG_MAP = 0xD1, EMPTY_LIST = 0x45 };
enum { MESSAGE_ID = 0, USER_ID, CORRELATION_ID = 5, CONTENT_TYPE, CONTENT_ENCODING, CREATION_TIME = 9, FIELDS = 13 };

static PyObject *InputEvent, *Timestamp, *Long;
static PyObject *sequence_number, *offset_, *enqueued_time;

/* ---- Decoding. Every function returns NULL, or 0, for what is unusual; then no Python error is set, except MemoryError. */

typedef struct {
    const unsigned char *at, *end;
} Input;

static int has(const Input *in, size_t size) { return (size_t)(in->end - in->at) >= size; }

static uint64_t number(const unsigned char *at, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value = value << 8 | at[i];
    return value;
}

/* Reads what follows a constructor: a size of one or four bytes, and so many bytes. */
static int sized(Input *in, int is_long, Input *content) {
    int width = is_long ? 4 : 1;
    if (!has(in, width)) return 0;
    size_t size = number(in->at, width);
    in->at += width;
    if (!has(in, size)) return 0;
    *content = (Input){in->at, in->at + size};
    in->at += size;
    return 1;
}

static PyObject *without_decode_error(PyObject *value) {
    if (value == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) PyErr_Clear();
    return value;
}

static PyObject *text(const Input *content) {
    return without_decode_error(PyUnicode_DecodeUTF8((const char *)content->at, content->end - content->at, NULL));
}

/* Names of properties are the same in most events. A name takes the place of another one with the same hash, so that a sender
 * that makes up names costs time, not memory. */
enum { NAMES = 512, NAME_BYTES = 64 };
static PyObject *names[NAMES];

static PyObject *name(Input *in) {
    Input content;
    if (!has(in, 1)) return NULL;
    unsigned char code = *in->at++;
    if ((code != TEXT && code != SYMBOL) || !sized(in, 0, &content)) return NULL;
    Py_ssize_t size = content.end - content.at;
    if (size > NAME_BYTES) return text(&content);
    uint32_t hash = 2166136261u;
    for (Py_ssize_t i = 0; i < size; i++) hash = (hash ^ content.at[i]) * 16777619u;
    PyObject **place = &names[(hash ^ hash >> 16) % NAMES];
    if (*place != NULL && PyUnicode_GET_LENGTH(*place) == size && memcmp(PyUnicode_1BYTE_DATA(*place), content.at, size) == 0)
        return Py_NewRef(*place);
    PyObject *value = text(&content);
    if (value != NULL && PyUnicode_IS_ASCII(value)) Py_XSETREF(*place, Py_NewRef(value));
    return value;
}

static PyObject *integer(Input *in, int size) {
    if (!has(in, size)) return NULL;
    uint64_t bits = number(in->at, size);
    in->at += size;
    int unused = 64 - 8 * size;
    return PyLong_FromLongLong((int64_t)(bits << unused) >> unused);
}

static PyObject *as(PyObject *type, PyObject *value) {
    if (value == NULL) return NULL;
    PyObject *typed = PyObject_CallOneArg(type, value);
    Py_DECREF(value);
    return typed;
}

/* `is_plain`: as Python's own types, and text of any kind as str, as annotations are read (values.plain). */
static PyObject *value(Input *in, int is_plain) {
    Input content;
    if (!has(in, 1)) return NULL;
    unsigned char code = *in->at++;
    switch (code) {
    case TEXT:
    case LONG_TEXT:
        return sized(in, code == LONG_TEXT, &content) ? text(&content) : NULL;
    case SYMBOL:
    case LONG_SYMBOL:
        return is_plain && sized(in, code == LONG_SYMBOL, &content) ? text(&content) : NULL;
    case BINARY:
    case LONG_BINARY:
        if (is_plain || !sized(in, code == LONG_BINARY, &content)) return NULL;
        return PyBytes_FromStringAndSize((const char *)content.at, content.end - content.at);
    case NUL:
        Py_RETURN_NONE;
    case TRUE_:
        Py_RETURN_TRUE;
    case FALSE_:
        Py_RETURN_FALSE;
    case BOOLEAN:
        return has(in, 1) ? PyBool_FromLong(*in->at++) : NULL;
    case SMALL_INT:
        return integer(in, 1);
    case INT:
        return integer(in, 4);
    case SMALL_LONG:
        return is_plain ? integer(in, 1) : as(Long, integer(in, 1));
    case LONG:
        return is_plain ? integer(in, 8) : as(Long, integer(in, 8));
    case TIMESTAMP:
        return is_plain ? integer(in, 8) : as(Timestamp, integer(in, 8));
    case DOUBLE: {
        if (!has(in, 8)) return NULL;
        uint64_t bits = number(in->at, 8);
        double real;
        memcpy(&real, &bits, sizeof real);
        in->at += 8;
        return PyFloat_FromDouble(real);
    }
    default:
        return NULL;
    }
}

/* Reads the head of a list or map, and how many values it has. */
static int compound(Input *in, unsigned char small, unsigned char large, Input *items, size_t *count) {
    if (!has(in, 1)) return 0;
    unsigned char code = *in->at++;
    int is_long = code == large, width = is_long ? 4 : 1;
    if ((code != small && !is_long) || !sized(in, is_long, items) || !has(items, width)) return 0;
    *count = number(items->at, width);
    items->at += width;
    return 1;
}

static PyObject *map(Input *in, int is_plain) {
    Input items;
    size_t count;
    if (!compound(in, MAP, LONG_MAP, &items, &count) || count % 2) return NULL;
    PyObject *found = PyDict_New();
    while (found != NULL && count > 0) {
        PyObject *key = name(&items), *item = key == NULL ? NULL : value(&items, is_plain);
        if (item == NULL || PyDict_SetItem(found, key, item) < 0) Py_CLEAR(found);
        Py_XDECREF(key);
        Py_XDECREF(item);
        count -= 2;
    }
    if (found != NULL && items.at != items.end) Py_CLEAR(found);
    return found;
}

/* Fills `fields`; those that are null, or are not needed, stay NULL. */
static int properties(Input *in, PyObject **fields) {
    Input items, content;
    size_t count;
    if (has(in, 1) && *in->at == EMPTY_LIST) {
        in->at++;
        return 1;
    }
    if (!compound(in, LIST, LONG_LIST, &items, &count) || count > FIELDS) return 0;
    for (size_t i = 0; i < count; i++) {
        if (!has(&items, 1)) return 0;
        unsigned char code = *items.at++;
        if (code == NUL) continue;
        if (i == CREATION_TIME && code == TIMESTAMP) {
            fields[i] = as(Timestamp, integer(&items, 8));
        } else if (i != USER_ID && i != CREATION_TIME && (code == TEXT || code == SYMBOL) && sized(&items, 0, &content)) {
            fields[i] = text(&content);
        }
        if (fields[i] == NULL) return 0;
    }
    return items.at == items.end;
}

typedef struct {
    PyObject *annotations, *application_properties, *body;
    PyObject *fields[FIELDS];
} Message;

static int sections(Input *in, Message *message) {
    int has_properties = 0;
    Input content;
    while (has(in, 1)) {
        if (!has(in, 4) || in->at[0] != 0x00 || in->at[1] != 0x53) return 0;
        unsigned char section = in->at[2];
        in->at += 3;
        if (section == MESSAGE_ANNOTATIONS && message->annotations == NULL) {
            if ((message->annotations = map(in, 1)) == NULL) return 0;
        } else if (section == APPLICATION_PROPERTIES && message->application_properties == NULL) {
            if ((message->application_properties = map(in, 0)) == NULL) return 0;
        } else if (section == PROPERTIES && !has_properties) {
            has_properties = 1;
            if (!properties(in, message->fields)) return 0;
        } else if (section == DATA && message->body == NULL) {
            unsigned char code = *in->at++;
            if ((code != BINARY && code != LONG_BINARY) || !sized(in, code == LONG_BINARY, &content)) return 0;
            message->body = PyBytes_FromStringAndSize((const char *)content.at, content.end - content.at);
            if (message->body == NULL) return 0;
        } else {
            return 0;
        }
    }
    if (message->application_properties == NULL) message->application_properties = PyDict_New();
    return message->annotations != NULL && message->body != NULL && message->application_properties != NULL;
}

static PyObject *event(PyObject *partition_id, const Message *message) {
    PyObject *number = PyDict_GetItemWithError(message->annotations, sequence_number);
    PyObject *offset = PyDict_GetItemWithError(message->annotations, offset_);
    PyObject *enqueued = PyDict_GetItemWithError(message->annotations, enqueued_time);
    if (number == NULL || !PyLong_CheckExact(number) || offset == NULL || !PyUnicode_CheckExact(offset) || enqueued == NULL ||
        !PyLong_CheckExact(enqueued))
        return NULL;
    PyObject *const *fields = message->fields;
#define FIELD(place) (fields[place] == NULL ? Py_None : fields[place])
    PyObject *arguments[] = {
        partition_id,           number,
        offset,                 enqueued,
        message->body,          Py_True,
        FIELD(CONTENT_TYPE),    FIELD(CONTENT_ENCODING),
        FIELD(MESSAGE_ID),      FIELD(CORRELATION_ID),
        message->application_properties, message->annotations,
        Py_None,                FIELD(CREATION_TIME),
    };
#undef FIELD
    return PyObject_Vectorcall(InputEvent, arguments, sizeof arguments / sizeof *arguments, NULL);
}

static PyObject *none_if_unusual(PyObject *result) {
    if (result == NULL && !PyErr_Occurred()) Py_RETURN_NONE;
    return result;
}

/* The event whose message is all of the input. */
static PyObject *decoded(PyObject *partition_id, Input in) {
    Message message = {0};
    PyObject *result = sections(&in, &message) ? event(partition_id, &message) : NULL;
    Py_XDECREF(message.annotations);
    Py_XDECREF(message.application_properties);
    Py_XDECREF(message.body);
    for (int i = 0; i < FIELDS; i++) Py_XDECREF(message.fields[i]);
    return result;
}

static PyObject *decode(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (InputEvent == NULL || count != 4 || !PyUnicode_Check(args[0]) || !PyBytes_CheckExact(args[1])) Py_RETURN_NONE;
    Py_ssize_t at = PyLong_AsSsize_t(args[2]), end = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred()) return NULL;
    if (at < 0 || end < at || end > PyBytes_GET_SIZE(args[1])) Py_RETURN_NONE;
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(args[1]);
    return none_if_unusual(decoded(args[0], (Input){data + at, data + end}));
}

enum { TRANSFER = 0x14, AMQP_FRAME = 0, EMPTY_FRAME_BYTES = 8, HANDLE = 0, MORE = 5 };
enum { SMALL_UINT = 0x52, SMALL_ULONG = 0x53, UBYTE = 0x50, UINT_0 = 0x43, ULONG_0 = 0x44, UINT = 0x70, ULONG = 0x80 };

/* Skips a field of a transfer, and says what kind of field it is; 0 for one that transfers do not have. */
static unsigned char field(Input *in) {
    Input content;
    if (!has(in, 1)) return 0;
    unsigned char code = *in->at++;
    size_t size;
    switch (code) {
    case NUL:
    case TRUE_:
    case FALSE_:
    case UINT_0:
    case ULONG_0:
        return code;
    case UBYTE:
    case SMALL_UINT:
    case SMALL_ULONG:
    case BOOLEAN:
        size = 1;
        break;
    case UINT:
        size = 4;
        break;
    case ULONG:
        size = 8;
        break;
    case BINARY:
        return sized(in, 0, &content) ? code : 0;
    default:
        return 0;
    }
    if (!has(in, size)) return 0;
    in->at += size;
    return code;
}

/* Reads the head of a frame that is a whole transfer of this link, so that what is left of it is the message. */
static int transfer(Input *frame, int64_t channel, int64_t handle) {
    Input fields;
    size_t count, offset = 4 * (size_t)frame->at[4];
    if (frame->at[5] != AMQP_FRAME || (int64_t)number(frame->at + 6, 2) != channel) return 0;
    if (offset < EMPTY_FRAME_BYTES || !has(frame, offset)) return 0;
    frame->at += offset;
    if (!has(frame, 3) || frame->at[0] != 0x00 || frame->at[1] != SMALL_ULONG || frame->at[2] != TRANSFER) return 0;
    frame->at += 3;
    if (!compound(frame, LIST, LONG_LIST, &fields, &count) || count == 0) return 0;
    for (size_t i = 0; i < count && i <= MORE; i++) {
        const unsigned char *value = fields.at + 1;
        unsigned char code = field(&fields);
        if (code == 0) return 0;
        if (i == HANDLE && code != UINT_0 && code != SMALL_UINT && code != UINT) return 0;
        if (i == HANDLE && (int64_t)number(value, fields.at - value) != handle) return 0;
        if (i == MORE && (code == TRUE_ || (code == BOOLEAN && *value != 0))) return 0;
    }
    return 1;
}

/* The events of the transfers from this place on, and where it stopped (frames.events_at). */
static PyObject *events(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (InputEvent == NULL || count != 7 || !PyUnicode_Check(args[0]) || !PyBytes_CheckExact(args[1]))
        return PyErr_Format(PyExc_TypeError, "events: it was called in another way than by native.py");
    int64_t numbers[7];
    for (int i = 2; i < 7; i++) numbers[i] = PyLong_AsLongLong(args[i]);
    if (PyErr_Occurred()) return NULL;
    int64_t at = numbers[2], most = numbers[3], until = numbers[4], size = PyBytes_GET_SIZE(args[1]);
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(args[1]);
    PyObject *found = PyList_New(0);
    while (found != NULL && most-- > 0 && at >= 0 && at < until && size - at > EMPTY_FRAME_BYTES) {
        int64_t length = number(data + at, 4);
        if (length <= EMPTY_FRAME_BYTES || length > size - at) break;
        Input frame = {data + at, data + at + length};
        if (!transfer(&frame, numbers[5], numbers[6])) break;
        PyObject *next = decoded(args[0], frame);
        if (next == NULL && !PyErr_Occurred()) break;
        if (next == NULL || PyList_Append(found, next) < 0) Py_CLEAR(found);
        Py_XDECREF(next);
        at += length;
    }
    return found == NULL ? NULL : Py_BuildValue("NL", found, (long long)at);
}

/* ---- Encoding. Every function that writes returns 0 for what is unusual, or where there is no memory. */

typedef struct {
    unsigned char *data;
    size_t size, room;
    unsigned char first[2048];
} Output;

static unsigned char *grow(Output *out, size_t size) {
    if (out->room - out->size < size) {
        size_t room = (out->size + size) * 2;
        unsigned char *data = PyMem_Malloc(room);
        if (data == NULL) return NULL;
        memcpy(data, out->data, out->size);
        if (out->data != out->first) PyMem_Free(out->data);
        out->data = data;
        out->room = room;
    }
    out->size += size;
    return out->data + out->size - size;
}

static void put(unsigned char *at, uint64_t value, int size) {
    for (int i = size; i-- > 0; value >>= 8) at[i] = (unsigned char)value;
}

static int put_byte(Output *out, unsigned char byte) {
    unsigned char *at = grow(out, 1);
    if (at != NULL) *at = byte;
    return at != NULL;
}

static int put_number(Output *out, unsigned char code, uint64_t value, int size) {
    unsigned char *at = grow(out, 1 + size);
    if (at == NULL) return 0;
    *at = code;
    put(at + 1, value, size);
    return 1;
}

/* A binary, string or symbol: `code` is that of the short form. */
static int put_bytes(Output *out, unsigned char code, const char *bytes, Py_ssize_t size) {
    if ((uint64_t)size > UINT32_MAX) return 0;
    int is_sized = size < 256 ? put_number(out, code, size, 1) : put_number(out, code + 0x10, size, 4);
    unsigned char *at = is_sized ? grow(out, size) : NULL;
    if (at == NULL) return 0;
    memcpy(at, bytes, size);
    return 1;
}

static int put_text(Output *out, unsigned char code, PyObject *value) {
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(value, &size);
    if (bytes == NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) PyErr_Clear();
    return bytes != NULL && put_bytes(out, code, bytes, size);
}

static int put_integer(Output *out, unsigned char code, PyObject *value) {
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) return 0;
    if (code == INT && (number < INT32_MIN || number > INT32_MAX)) code = LONG;
    return put_number(out, code, (uint64_t)number, code == INT ? 4 : 8);
}

static int put_value(Output *out, PyObject *value) {
    if (PyUnicode_CheckExact(value)) return put_text(out, TEXT, value);
    if (value == Py_None) return put_byte(out, NUL);
    if (value == Py_True) return put_byte(out, TRUE_);
    if (value == Py_False) return put_byte(out, FALSE_);
    if (PyLong_CheckExact(value)) return put_integer(out, INT, value);
    if (Py_TYPE(value) == (PyTypeObject *)Timestamp) return put_integer(out, TIMESTAMP, value);
    if (Py_TYPE(value) == (PyTypeObject *)Long) return put_integer(out, LONG, value);
    if (PyBytes_CheckExact(value)) return put_bytes(out, BINARY, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    if (PyFloat_CheckExact(value)) {
        double real = PyFloat_AS_DOUBLE(value);
        uint64_t bits;
        memcpy(&bits, &real, sizeof bits);
        return put_number(out, DOUBLE, bits, 8);
    }
    return 0;
}

static int put_symbol(Output *out, PyObject *value) {
    if (value == Py_None) return put_byte(out, NUL);
    return PyUnicode_CheckExact(value) && PyUnicode_IS_ASCII(value) && put_text(out, SYMBOL, value);
}

/* Begins a section that holds a list or a map. Returns where its size and count are to be written, or 0. */
static size_t begin(Output *out, unsigned char section, unsigned char code) {
    unsigned char *at = grow(out, 12);
    if (at == NULL) return 0;
    memcpy(at, (unsigned char[]){0x00, 0x53, section, code}, 4);
    return out->size - 8;
}

static int finish(Output *out, size_t begun, uint64_t count) {
    uint64_t size = out->size - begun - 4;
    if (size > UINT32_MAX) return 0;
    put(out->data + begun, size, 4);
    put(out->data + begun + 4, count, 4);
    return 1;
}

static int put_properties(Output *out, PyObject *const *own) {
    if (own[0] == Py_None && own[1] == Py_None && own[2] == Py_None && own[3] == Py_None) return 1;
    size_t begun = begin(out, PROPERTIES, LONG_LIST);
    int is_whole = begun && put_value(out, own[0]);
    for (int field = USER_ID; field < CORRELATION_ID; field++) is_whole = is_whole && put_byte(out, NUL);
    is_whole = is_whole && put_value(out, own[1]) && put_symbol(out, own[2]) && put_symbol(out, own[3]);
    return is_whole && finish(out, begun, CONTENT_ENCODING + 1);
}

static int put_application_properties(Output *out, PyObject *named) {
    PyObject *key, *item;
    Py_ssize_t at = 0, count = PyDict_GET_SIZE(named);
    if (count == 0) return 1;
    size_t begun = begin(out, APPLICATION_PROPERTIES, LONG_MAP);
    if (!begun) return 0;
    while (PyDict_Next(named, &at, &key, &item))
        if (!PyUnicode_CheckExact(key) || !put_text(out, TEXT, key) || !put_value(out, item)) return 0;
    return finish(out, begun, 2 * (uint64_t)count);
}

/* Takes the body, the message-id, the correlation-id, the content type and encoding, and the application properties. */
static PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (Timestamp == NULL || count != 6 || !PyBytes_CheckExact(args[0]) || !PyDict_CheckExact(args[5])) Py_RETURN_NONE;
    Output out = {.size = 0, .room = sizeof out.first};
    out.data = out.first;
    unsigned char *head;
    int is_whole = put_properties(&out, args + 1) && put_application_properties(&out, args[5]) &&
                   (head = grow(&out, 3)) != NULL && memcpy(head, "\x00\x53\x75", 3) &&
                   put_bytes(&out, BINARY, PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0]));
    PyObject *result = is_whole ? PyBytes_FromStringAndSize((const char *)out.data, out.size) : NULL;
    if (out.data != out.first) PyMem_Free(out.data);
    return none_if_unusual(result);
}

/* ---- Module. */

static PyObject *configure(PyObject *module, PyObject *args) {
    PyObject *event_type, *timestamp_type, *long_type;
    if (!PyArg_ParseTuple(args, "OO!O!:configure", &event_type, &PyType_Type, &timestamp_type, &PyType_Type, &long_type))
        return NULL;
    Py_XSETREF(InputEvent, Py_NewRef(event_type));
    Py_XSETREF(Timestamp, Py_NewRef(timestamp_type));
    Py_XSETREF(Long, Py_NewRef(long_type));
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"configure", configure, METH_VARARGS, NULL},
    {"decode", (PyCFunction)(void (*)(void))decode, METH_FASTCALL, NULL},
    {"events", (PyCFunction)(void (*)(void))events, METH_FASTCALL, NULL},
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
    sequence_number = PyUnicode_InternFromString("x-opt-sequence-number");
    offset_ = PyUnicode_InternFromString("x-opt-offset");
    enqueued_time = PyUnicode_InternFromString("x-opt-enqueued-time");
    if (sequence_number == NULL || offset_ == NULL || enqueued_time == NULL) return NULL;
    return PyModule_Create(&definition);
}
