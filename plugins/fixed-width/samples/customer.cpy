       01  CUSTOMER.
           05  CUSTOMER-ID      PIC 9(6).
           05  LAST-NAME        PIC X(12).
           05  BALANCE          PIC S9(7)V99 COMP-3.
           05  PHONE-COUNT      PIC 9.
           05  PHONES           OCCURS 0 TO 2 DEPENDING ON PHONE-COUNT.
               10  KIND         PIC X.
               10  DIGITS       PIC X(8).
