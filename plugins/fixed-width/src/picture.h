/* PIC. */
#ifndef PICTURE_H
#define PICTURE_H

#include "copybook.h"

/* Reads a picture into a field: what is in it, and how many characters it has. NULL, or what is wrong with it. */
const char *picture_read(const char *text, unsigned most_digits, field *into);

#endif
